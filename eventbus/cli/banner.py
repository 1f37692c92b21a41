"""What a process says of itself at its start: servers, queues, and what is unsafe."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from eventbus.cli.terminal import escape
from eventbus.settings import mask

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.settings import Settings
    from eventbus.subscription import Subscription

_logger = logging.getLogger("eventbus")


def show_banner(
    bus: EventBus,
    what: str,
    *,
    subscriptions: Sequence[Subscription] = (),
    options: Mapping[str, object] | None = None,
) -> None:
    """Print the banner to the standard error; with ``log_format=json`` log it as one record.

    Parameters
    ----------
    what:
        The command, such as ``worker``.
    subscriptions:
        The queues that are consumed.
    options:
        Further lines, in order, such as ``{"pool": "threads"}``.
    """
    from eventbus import __version__

    facts = {**servers(bus.settings), "exchange": bus.settings.exchange, **(options or {})}
    unsafe = bus.settings.unsafe()
    if bus.settings.log_format == "json":
        _log_banner(f"eventbus {__version__} {what}", bus, facts, subscriptions, unsafe)
        return
    lines = [f"eventbus {__version__} {what}  service {bus.service}"]
    lines += [f"  {name:<12} {value}" for name, value in facts.items()]
    lines += [
        f"  {label:<12} {line}"
        for subscription in subscriptions
        for label, line in _described(subscription)
    ]
    lines += [f"  {'UNSAFE':<12} {text}" for text in unsafe]
    for line in lines:
        click.echo(escape(line), err=True)
    click.echo("", err=True)


def servers(settings: Settings) -> dict[str, str]:
    """The servers that `settings` name, without passwords."""
    idempotency = mask(settings.redis_url) if settings.redis_url else "in the database"
    if not settings.embedded:
        broker = mask(str(settings.broker_url))
    elif settings.broker_url is None or settings.broker_url == settings.database_url:
        broker = "embedded, in the database"
    else:
        broker = f"embedded, in {mask(settings.broker_url)}"
    return {"database": mask(settings.database_url), "broker": broker, "idempotency": idempotency}


def _described(subscription: Subscription) -> list[tuple[str, str]]:
    lines = [("queue", subscription.queue)]
    for handler in subscription.handlers:
        kind = "  (transactional)" if handler.transactional else ""
        lines.append(("", f"  {handler.name} <- {', '.join(handler.patterns)}{kind}"))
    return lines


def _log_banner(
    title: str,
    bus: EventBus,
    facts: Mapping[str, object],
    subscriptions: Sequence[Subscription],
    unsafe: Sequence[str],
) -> None:
    queues = {
        subscription.queue: {
            handler.name: list(handler.patterns) for handler in subscription.handlers
        }
        for subscription in subscriptions
    }
    _logger.info(
        title, extra={"service": bus.service, **facts, "queues": queues, "unsafe": list(unsafe)}
    )
    for text in unsafe:
        _logger.warning("unsafe setting: %s", text)
