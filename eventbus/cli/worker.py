"""``eventbus worker``: consumes queues and runs their handlers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_name, application_option, the_bus
from eventbus.cli.options import log_level_option, worker_options
from eventbus.cli.supervision import Supervision, supervision_options
from eventbus.errors import ConfigurationError
from eventbus.workers.options import PREFORK

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.subscription import Subscription
    from eventbus.workers.options import WorkerOptions
    from eventbus.workers.prefork.parent import Prefork
    from eventbus.workers.worker import Worker


@click.command("worker")
@application_option
@worker_options
@log_level_option
@supervision_options
def command(
    queues: list[str], log_level: str | None, supervision: Supervision, **options: Any
) -> None:
    """Consume queues and run their handlers.

    TERM and INT let running handlers finish, for --shutdown-timeout at most; a second one stops at
    once, and what is unfinished goes back to its queue. HUP loads new code, USR1 writes the
    stacks of all threads to the log.
    """
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner

    bus = the_bus()
    start.set_up(bus, log_level)
    start.refuse_contradictions(bus)
    subscriptions = start.chosen_subscriptions(bus, queues)
    chosen = make_options(bus, subscriptions, options)
    worker = make_worker(bus, chosen)
    shown = {**shown_options(chosen), **supervision.shown()}
    show_banner(bus, "worker", subscriptions=subscriptions, options=shown)
    start.supervise(bus, {"worker": worker}, supervision)


def make_options(
    bus: EventBus, subscriptions: Sequence[Subscription], options: dict[str, Any]
) -> WorkerOptions:
    """What `worker_options` gave, for `subscriptions` of `bus`.

    Raises
    ------
    ConfigurationError
        Options contradict each other, the handlers or the broker.
    """
    from eventbus.workers.contradictions import contradictions
    from eventbus.workers.options import WorkerOptions

    concurrency = options.pop("concurrency")
    if concurrency is None:
        concurrency = (os.cpu_count() or 1) if options["pool"] == PREFORK else 8
    chosen = WorkerOptions(
        queues=tuple(one.name for one in subscriptions), concurrency=concurrency, **options
    )
    handlers = [handler for one in subscriptions for handler in one.handlers]
    found = contradictions(chosen, handlers, bus.settings)
    if found:
        raise ConfigurationError("; ".join(found))
    return chosen


def make_worker(bus: EventBus, options: WorkerOptions) -> Worker | Prefork:
    """What runs the handlers in the way that `options` say."""
    if options.pool == PREFORK:
        from eventbus.workers.prefork.parent import Prefork

        return Prefork(bus, options, application_name())
    from eventbus.workers.worker import Worker

    return Worker(bus, options)


def shown_options(options: WorkerOptions) -> dict[str, object]:
    """What the banner tells of a worker."""
    shown: dict[str, object] = {
        "pool": f"{options.pool}, concurrency {options.concurrency}",
        "prefetch": options.prefetch_count,
    }
    if options.pool == PREFORK:
        shown["pool"] = f"{shown['pool']}, {options.start_method}"
        shown["prefetch"] = f"{options.prefetch_count} in each process"
    for name in ("soft_time_limit", "time_limit"):
        limit = getattr(options, name)
        if limit is not None:
            shown[name.replace("_", " ")] = f"{limit.total_seconds():g} s"
    return shown
