"""``eventbus worker``: consumes queues and runs their handlers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import log_level_option, worker_options

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.subscription import Subscription
    from eventbus.workers.worker import Worker


@click.command("worker")
@application_option
@worker_options
@log_level_option
def command(
    queues: list[str],
    concurrency: int,
    pool: str,
    prefetch: int | None,
    name: str | None,
    shutdown_timeout: timedelta,
    log_level: str | None,
) -> None:
    """Consume queues and run their handlers.

    TERM and INT let running handlers finish, for --shutdown-timeout at most; a second one stops at
    once, and what is unfinished goes back to its queue.
    """
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner

    bus = the_bus()
    start.set_up(bus, log_level)
    start.refuse_contradictions(bus)
    subscriptions = start.chosen_subscriptions(bus, queues)
    worker = make_worker(bus, subscriptions, pool, concurrency, prefetch, name, shutdown_timeout)
    show_banner(
        bus,
        "worker",
        subscriptions=subscriptions,
        options=shown_options(worker, pool, concurrency),
    )
    start.supervise({"worker": worker})


def make_worker(
    bus: EventBus,
    subscriptions: Sequence[Subscription],
    pool: str,
    concurrency: int,
    prefetch: int | None,
    name: str | None,
    shutdown_timeout: timedelta,
) -> Worker:
    """A worker for `subscriptions`, from the options of the command line."""
    from eventbus.workers.worker import Worker

    return Worker(
        bus,
        queues=[subscription.name for subscription in subscriptions],
        pool=pool,
        concurrency=concurrency,
        prefetch=prefetch,
        name=name,
        shutdown_timeout=shutdown_timeout,
    )


def shown_options(worker: Worker, pool: str, concurrency: int) -> dict[str, object]:
    """What the banner tells of a worker."""
    return {"pool": f"{pool}, concurrency {concurrency}", "prefetch": worker.prefetch}
