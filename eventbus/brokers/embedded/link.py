"""One connection to the broker's database, opened when it is needed and again after an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from eventbus import database
from eventbus.errors import (
    BrokerUnavailable,
    DatabaseNotMigrated,
    DatabaseUnavailable,
    EventBusError,
)

#: What a waiting consumer listens on.
CHANNEL = "eventbus_messages"

#: MySQL's ER_NET_PACKET_TOO_LARGE: the same statement would be refused for ever.
_PACKET_TOO_LARGE = 1153


class Refused(EventBusError):
    """The database refuses what the statement contains, and would refuse it again."""


class Link:
    """A connection for one thread; the next transaction after an error opens another one."""

    def __init__(self, url: URL, name: str) -> None:
        self.url = url
        #: The address without its password.
        self.shown = url.render_as_string(hide_password=True)
        self.engine = database.make_engine(
            url, poolclass=NullPool, connect_args=database.time_outs(url, name)
        )
        self._connection: Connection | None = None

    def open(self) -> Connection:
        """The connection, to a database that has the tables.

        Raises
        ------
        BrokerUnavailable, DatabaseNotMigrated
        """
        if self._connection is None:
            with self._explained():
                self._check_tables()
                self._connection = self.engine.connect()
        return self._connection

    def _check_tables(self) -> None:
        try:
            database.check(self.engine)
        except DatabaseNotMigrated:
            if self.engine.dialect.name != "sqlite":
                raise
            # The default needs no configuration and no command before the first start.
            database.upgrade(self.engine)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection in a transaction that only reads."""
        with self._transaction(read_only=True) as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """The connection in a transaction that is committed at the end."""
        with self._transaction(read_only=False) as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, *, read_only: bool) -> Iterator[Connection]:
        with self._explained():
            connection = self.open().execution_options(eventbus_read_only=read_only)
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """After an error of the database: no connection, and the error in the broker's words."""
        try:
            yield
        except exc.DataError as error:
            self.close()
            raise Refused(str(error.orig)[:400]) from error
        except exc.SQLAlchemyError as error:
            self.close()
            if _is_too_large(error):
                raise Refused("it is longer than the server's max_allowed_packet") from error
            raise _in_broker_words(database.explain(error, self.url)) from error
        except DatabaseUnavailable as error:
            self.close()
            raise BrokerUnavailable(f"embedded broker: {error}") from error

    def close(self) -> None:
        """Close the connection; the next use opens one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                connection.close()


def _in_broker_words(error: EventBusError) -> EventBusError:
    if isinstance(error, DatabaseNotMigrated):
        return error
    return BrokerUnavailable(f"embedded broker: {error}")


def _is_too_large(error: exc.SQLAlchemyError) -> bool:
    arguments: tuple[object, ...] = getattr(getattr(error, "orig", None), "args", ())
    return bool(arguments) and arguments[0] == _PACKET_TOO_LARGE
