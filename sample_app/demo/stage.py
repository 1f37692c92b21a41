"""Sets the stage: the databases are made, the broker is looked at, a port is found."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from eventbus import EventBus
from eventbus.brokers.port import Admin
from eventbus.errors import ConfigurationError
from eventbus.topology import RETRY_LEVELS_MS, dead_letter_queue_name, retry_queue_name

from ..prepare import (
    TABLES,
    create_broker,
    create_database,
    create_tables,
    database_variable,
    shop_environment,
)
from .books import Books
from .customers import Customers
from .processes import Processes
from .shop import QUEUES, Shop

#: What the databases' names begin with on a server; they are dropped and made anew.
DATABASE_PREFIX = "eventbus_demo_"

#: An exchange of its own, apart from that of whatever else uses the broker.
EXCHANGE = "eventbus-demo"

_PACKAGES = ("flask", "httpx", "waitress")


def require_packages() -> None:
    """Raise `ConfigurationError` if a package of the extra ``demo`` is missing."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"the demo needs {', '.join(missing)}; pip install 'eventbus[demo]'"
        )


@contextlib.contextmanager
def set_up(folder: Path, given: Mapping[str, str], billing: str) -> Iterator[Shop]:
    """Make the databases, and end all processes at the end.

    Parameters
    ----------
    folder:
        For logs and for SQLite files.
    given:
        The demo's own environment, which may name servers.
    billing:
        The application that the billing workers are to run.

    Raises
    ------
    EventBusError
        A setting is wrong or a server cannot be reached.
    """
    url = f"http://127.0.0.1:{_free_port()}"
    shop = shop_environment(given, folder, prefix=DATABASE_PREFIX)
    bus = EventBus(
        "demo",
        database_url=shop[database_variable("checkout")],
        broker_url=shop["EVENTBUS_BROKER_URL"],
    )
    _make_databases(shop, given.get("SHOP_DATABASE_URL"))
    with contextlib.ExitStack() as stack:
        broker = bus.broker.admin()
        stack.callback(broker.close)
        _refuse_used_queues(broker, bus.broker.url)
        # Whatever happens: nothing is left that the next demo would stumble over.
        stack.callback(_empty_queues, broker)
        books = Books(shop)
        stack.callback(books.close)
        provider_down = folder / "mail-provider-down"
        environment = {
            **_foreign(given),
            **shop,
            "CHECKOUT_URL": url,
            "EVENTBUS_EXCHANGE": EXCHANGE,
            "MAIL_PROVIDER_DOWN": str(provider_down),
        }
        processes = stack.enter_context(Processes(folder, environment))
        customers = stack.enter_context(Customers(url))
        yield Shop(url, billing, processes, customers, books, broker, provider_down)


def _make_databases(shop: Mapping[str, str], server: str | None) -> None:
    for service in TABLES:
        url = shop[database_variable(service)]
        if server:
            create_database(url, server, anew=True)
        create_tables(service, url)
    create_broker(shop["EVENTBUS_BROKER_URL"])


def _all_queues() -> list[str]:
    """The queues of the shop, with those for retries and dead letters."""
    return [
        name
        for queue in QUEUES
        for name in (
            queue,
            dead_letter_queue_name(queue),
            *(retry_queue_name(queue, level) for level in RETRY_LEVELS_MS),
        )
    ]


def _refuse_used_queues(broker: Admin, url: str) -> None:
    """Somebody else's queues may have the same names; the demo would eat their messages."""
    for queue, stats in broker.stats(_all_queues()).items():
        if stats.messages or stats.consumers:
            raise ConfigurationError(
                f"queue {queue!r} on {url} is in use: {stats.messages} messages, {stats.consumers} "
                f"consumers; give the demo a virtual host of its own in EVENTBUS_BROKER_URL"
            )


def _empty_queues(broker: Admin) -> None:
    """Remove what a demo has left that was interrupted; the queues were empty when it began."""
    for queue, stats in broker.stats(_all_queues()).items():
        if stats.messages:
            broker.purge(queue)


def _foreign(given: Mapping[str, str]) -> dict[str, str]:
    """The environment without settings of eventbus, which would change how the shop runs."""
    return {name: value for name, value in given.items() if not name.startswith("EVENTBUS_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
