"""``eventbus run``: dispatcher and worker in one process."""

from __future__ import annotations

from datetime import timedelta

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import dispatcher_options, log_level_option, worker_options


@click.command("run")
@application_option
@worker_options
@dispatcher_options
@log_level_option
def command(
    queues: list[str],
    concurrency: int,
    pool: str,
    prefetch: int | None,
    name: str | None,
    shutdown_timeout: timedelta,
    batch_size: int,
    poll_interval: timedelta,
    log_level: str | None,
) -> None:
    """Dispatcher and worker in one process.

    For development, and for small services. Declares the exchange and the queues, and creates the
    tables where the database is SQLite.
    """
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner
    from eventbus.cli.worker import make_worker, shown_options

    bus = the_bus()
    start.set_up(bus, log_level)
    start.refuse_contradictions(bus)
    subscriptions = start.chosen_subscriptions(bus, queues)
    start.upgrade_sqlite(bus)
    start.check_servers(bus)
    start.declare(bus)

    from eventbus.workers.dispatcher import Dispatcher

    worker = make_worker(bus, subscriptions, pool, concurrency, prefetch, name, shutdown_timeout)
    dispatcher = Dispatcher(
        bus,
        batch_size=batch_size,
        poll_interval=poll_interval,
        name=None if name is None else f"{name}.dispatcher",
    )
    show_banner(
        bus,
        "run",
        subscriptions=subscriptions,
        options=shown_options(worker, pool, concurrency),
    )
    start.supervise({"dispatcher": dispatcher, "worker": worker})
