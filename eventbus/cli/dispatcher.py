"""``eventbus dispatcher``: moves outbox rows to the broker."""

from __future__ import annotations

from datetime import timedelta

import click

from eventbus.cli.application import DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Name, dispatcher_options, log_level_option
from eventbus.cli.supervision import Supervision, supervision_options


@click.command("dispatcher")
@application_option
@dispatcher_options
@click.option("--once", is_flag=True, help="Publish what is there now, print how much, and end.")
@click.option("-n", "--name", type=Name(), help="The process's name on the servers.")
@log_level_option
@supervision_options
def command(
    batch_size: int,
    poll_interval: timedelta,
    once: bool,
    name: str | None,
    log_level: str | None,
    supervision: Supervision,
) -> None:
    """Publish the outbox to the broker.

    Several may run on one outbox. Without -A it works on EVENTBUS_DATABASE_URL and
    EVENTBUS_BROKER_URL: it needs none of the application's code.
    """
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner
    from eventbus.cli.terminal import print_line

    bus = bus_or_settings(DATABASE)
    start.set_up(bus, log_level)

    from eventbus.workers.dispatcher import Dispatcher

    dispatcher = Dispatcher(bus, batch_size=batch_size, poll_interval=poll_interval, name=name)
    if once:
        start.check_servers(bus)
        count = dispatcher.run_once()
        print_line(f"{count} {'row' if count == 1 else 'rows'} read from the outbox")
        return
    show_banner(bus, "dispatcher", options={"batch size": batch_size, **supervision.shown()})
    start.supervise(bus, {"dispatcher": dispatcher}, supervision, lambda: start.check_servers(bus))
