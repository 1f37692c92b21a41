"""The demo: the whole shop in real processes, with accidents, and a count at the end.

Some hundred customers order over HTTP. Meanwhile the email service is taken down and a billing
worker is killed in the middle of its work. At the end every service's own database is counted: no
order may be refused, lost or charged twice.

Read `story` first (what happens), then `books` (what is counted) and `accidents` (what must really
have happened); `sabotage` proves that the count can fail.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

#: Fewer leave no time for the accidents; more do not end within the minute on a slow machine.
FEWEST_ORDERS, MOST_ORDERS = 100, 1000

#: What ``--sabotage`` takes: the application that the billing workers run instead of their own.
SABOTAGES = {"double-charge": "eventbus.sample_app.demo.sabotage:bus"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo with the `arguments` of a command line; returns 0 for PASS, 1 for FAIL.

    Raises
    ------
    click.ClickException
        An argument is wrong.
    EventBusError
        A setting is wrong, or a server cannot be reached.
    """
    return int(
        command.main(
            args=None if arguments is None else list(arguments),
            prog_name="eventbus demo",
            standalone_mode=False,
        )
        or 0
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--orders",
    type=click.IntRange(FEWEST_ORDERS, MOST_ORDERS),
    default=300,
    show_default=True,
    help="How many orders the customers place.",
)
@click.option("--sabotage", type=click.Choice(sorted(SABOTAGES)), hidden=True)
def command(orders: int, sabotage: str | None) -> int:
    """Run a shop of four services, with accidents, and count what came of it.

    Needs no server. Uses RabbitMQ, Redis and PostgreSQL where EVENTBUS_BROKER_URL,
    EVENTBUS_REDIS_URL and SHOP_DATABASE_URL name them. It makes its databases anew: on a
    PostgreSQL server those whose names begin with eventbus_demo_.
    """
    # Here, so that --help works without the packages of the extra `demo`.
    from .run import run

    return run(orders, SABOTAGES.get(sabotage or ""))
