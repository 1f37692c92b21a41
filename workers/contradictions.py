"""Options of a worker that contradict each other, its handlers or its broker: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from .options import PREFORK, WorkerOptions

if TYPE_CHECKING:
    from eventbus.settings import Settings
    from eventbus.subscription import Handler


def contradictions(
    options: WorkerOptions, handlers: Sequence[Handler], settings: Settings
) -> list[str]:
    """One sentence each, with the remedy."""
    found = [*_only_for_prefork(options), *_never_soft(options)]
    for handler in handlers:
        found += _of_handler(handler, options, settings)
    # The same option is wrong for many handlers in the same way.
    return list(dict.fromkeys(found))


def _only_for_prefork(options: WorkerOptions) -> Iterable[str]:
    if options.pool == PREFORK:
        return
    for name in ("max_tasks_per_child", "max_memory_per_child"):
        if getattr(options, name) is not None:
            yield (
                f"--{name.replace('_', '-')} is for pool prefork, whose processes can be replaced; "
                f"pool {options.pool} has none: use -P prefork"
            )


def _never_soft(options: WorkerOptions) -> Iterable[str]:
    soft, hard = options.soft_time_limit, options.time_limit
    if soft is not None and hard is not None and soft >= hard:
        yield (
            f"--soft-time-limit {_text(soft)} must be shorter than --time-limit {_text(hard)}, so "
            f"that a handler has time to tidy up"
        )


def _of_handler(handler: Handler, options: WorkerOptions, settings: Settings) -> Iterable[str]:
    soft = handler.soft_time_limit or options.soft_time_limit
    hard = handler.time_limit or options.time_limit
    soft_name = _source(handler, "soft_time_limit", soft)
    hard_name = _source(handler, "time_limit", hard)
    if hard is not None and options.pool != PREFORK and not handler.is_coroutine:
        yield (
            f"{hard_name} cannot be kept in pool {options.pool}, where nothing can end a handler "
            f"that is a plain function: use -P prefork, or a soft time limit"
        )
    mixed = (handler.soft_time_limit is None) != (handler.time_limit is None)
    if soft is not None and hard is not None and soft >= hard and mixed:
        yield f"{soft_name} must be shorter than {hard_name}"
    longest = hard or soft
    if longest is not None and not settings.embedded and longest >= settings.consumer_timeout:
        yield (
            f"{hard_name if hard else soft_name} is not shorter than "
            f"consumer_timeout={_text(settings.consumer_timeout)}, after which RabbitMQ takes the "
            f"message back: give a shorter limit, or raise consumer_timeout in rabbitmq.conf and "
            f"in EVENTBUS_CONSUMER_TIMEOUT"
        )


def _source(handler: Handler, name: str, value: timedelta | None) -> str:
    if value is None:
        return name
    if getattr(handler, name) is not None:
        return f"{name}={_text(value)} of handler {handler.name!r}"
    return f"--{name.replace('_', '-')} {_text(value)}"


def _text(duration: timedelta) -> str:
    return f"{duration.total_seconds():g}s"
