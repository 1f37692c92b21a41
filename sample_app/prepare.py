"""Prepares the shop's databases and prints the environment that its processes need.

    python -m eventbus.sample_app.prepare > shop.env

Without further settings: one SQLite file for each service, and one for the embedded broker, in the
current folder. With ``SHOP_DATABASE_URL``, any database on a PostgreSQL server: a database for each
service beside it, ``shop_checkout`` and so on, created where it is absent. ``EVENTBUS_BROKER_URL``
and ``EVENTBUS_REDIS_URL`` are taken over. Safe to run again.

A service of your own has migrations instead; ``bus.metadata`` gives Alembic the tables of eventbus.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus.database import errors_of, make_engine, sync_url, upgrade
from eventbus.errors import ConfigurationError, EventBusError
from eventbus.settings import is_amqp, mask

from .billing import models as billing
from .checkout import models as checkout
from .email import models as email
from .inventory import models as inventory

#: Service to its own tables.
TABLES = {
    "checkout": checkout.Base.metadata,
    "billing": billing.Base.metadata,
    "inventory": inventory.Base.metadata,
    "email": email.Base.metadata,
}

PRODUCTS = ("tea", "teapot", "cup")


def shop_environment(
    given: Mapping[str, str], folder: Path, *, prefix: str = "shop_"
) -> dict[str, str]:
    """The variables that the shop's processes read, made of those that are `given`.

    Parameters
    ----------
    folder:
        Where SQLite files are to be.
    prefix:
        What the names of databases on a server begin with.
    """
    shared = {
        "EVENTBUS_BROKER_URL": given.get("EVENTBUS_BROKER_URL") or f"sqlite:///{folder}/broker.db",
        "EVENTBUS_REDIS_URL": given.get("EVENTBUS_REDIS_URL", ""),
    }
    server = _server(given.get("SHOP_DATABASE_URL"))
    for service in TABLES:
        if server:
            database = server.set(database=f"{prefix}{service}")
            shared[database_variable(service)] = database.render_as_string(hide_password=False)
        else:
            shared[database_variable(service)] = f"sqlite:///{folder}/{service}.db"
    return {name: value for name, value in shared.items() if value}


def _server(url: str | None) -> sa.URL | None:
    if not url:
        return None
    parsed = sync_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"SHOP_DATABASE_URL={mask(url)!r}: expected a PostgreSQL server, such as "
            f"'postgresql+psycopg://user@host/postgres'; leave it out for SQLite"
        )
    return parsed


def database_variable(service: str) -> str:
    """Where a service reads its database's URL."""
    return f"{service.upper()}_DATABASE_URL"


def create_database(url: str, server: str, *, anew: bool = False) -> None:
    """Create the database of `url` on the `server` where it is absent, or `anew`, empty."""
    name = sa.make_url(url).database
    engine = make_engine(server, isolation_level="AUTOCOMMIT")
    quoted = engine.dialect.identifier_preparer.quote_identifier(str(name))
    with errors_of(engine), engine.connect() as connection:
        if anew:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {quoted}"))
        if name not in _databases(connection):
            connection.execute(sa.text(f"CREATE DATABASE {quoted}"))
    engine.dispose()


def _databases(connection: sa.Connection) -> set[str]:
    return set(connection.scalars(sa.text("SELECT datname FROM pg_database")))


def create_broker(url: str) -> None:
    """Create the tables of the embedded broker; a RabbitMQ needs nothing."""
    if not is_amqp(url):
        engine = make_engine(url)
        upgrade(engine)
        engine.dispose()


def create_tables(service: str, url: str) -> None:
    """Create a service's own tables and, beside them, those of eventbus."""
    engine = make_engine(url)
    upgrade(engine)
    TABLES[service].create_all(engine)
    if service == "inventory":
        _fill_the_shelves(engine)
    engine.dispose()


def _fill_the_shelves(engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        for product_id in PRODUCTS:
            if session.get(inventory.Stock, product_id) is None:
                session.add(inventory.Stock(product_id=product_id))


def prepare(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Create what is absent; returns the environment of the shop's processes."""
    environment = shop_environment(given, folder)
    for service in TABLES:
        url = environment[database_variable(service)]
        if server := given.get("SHOP_DATABASE_URL"):
            create_database(url, server)
        create_tables(service, url)
    create_broker(environment["EVENTBUS_BROKER_URL"])
    return environment


@click.command(help=__doc__ and __doc__.splitlines()[0])
def main() -> None:
    try:
        environment = prepare(os.environ, Path.cwd())
    except EventBusError as error:
        raise click.ClickException(str(error)) from None
    for name, value in environment.items():
        click.echo(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
