"""``eventbus run``: dispatcher and worker in one process."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from eventbus.cli.application import application_option, the_bus
from eventbus.cli.options import dispatcher_options, log_level_option, worker_options
from eventbus.cli.supervision import Supervision, supervision_options


@click.command("run")
@application_option
@worker_options
@dispatcher_options
@log_level_option
@supervision_options
def command(
    queues: list[str],
    batch_size: int,
    poll_interval: timedelta,
    log_level: str | None,
    supervision: Supervision,
    **options: Any,
) -> None:
    """Dispatcher and worker in one process.

    For development, and for small services. Declares the exchange and the queues, and creates the
    tables where the database is SQLite.
    """
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner
    from eventbus.cli.worker import make_options, make_worker, shown_options

    bus = the_bus()
    start.set_up(bus, log_level)
    start.refuse_contradictions(bus)
    subscriptions = start.chosen_subscriptions(bus, queues)

    from eventbus.workers.dispatcher import Dispatcher

    chosen = make_options(bus, subscriptions, options)
    worker = make_worker(bus, chosen)
    dispatcher = Dispatcher(
        bus,
        batch_size=batch_size,
        poll_interval=poll_interval,
        name=None if chosen.name is None else f"{chosen.name}.dispatcher",
    )

    def prepare() -> None:
        start.upgrade_sqlite(bus)
        start.check_servers(bus)
        start.declare(bus)

    shown = {**shown_options(chosen), **supervision.shown()}
    show_banner(bus, "run", subscriptions=subscriptions, options=shown)
    start.supervise(bus, {"dispatcher": dispatcher, "worker": worker}, supervision, prepare)
