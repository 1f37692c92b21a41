"""What an application may pass as ``session=``, each behind the same few calls.

`Transactions` is one of them on one database. The asynchronous ones run on an event loop of their
own, one call at a time, so that one suite holds them all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import aiomysql
import pymysql
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool

from eventbus import Event, EventBus

# aiomysql 0.3 quotes bytes with a function that PyMySQL 1.2 has replaced by a string of warning, so
# that no statement with bytes can be sent. Only the quoting is mended here; nothing of ours is.
if not callable(aiomysql.connection.escape_bytes_prefixed):
    aiomysql.connection.escape_bytes_prefixed = pymysql.converters.escape_bytes

ASYNC_DRIVERS = {"sqlite": "aiosqlite", "postgresql": "psycopg", "mysql": "aiomysql"}


def application_engine(url: str, **options: Any) -> Engine:
    """An engine as an application makes it, which is not how eventbus makes its own."""
    engine = sa.create_engine(url, **options)
    if engine.dialect.name == "sqlite":
        let_sqlalchemy_begin(engine)
    return engine


def let_sqlalchemy_begin(engine: Engine) -> None:
    """SQLAlchemy's own recipe for savepoints on SQLite, whose driver begins too late for them."""

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")


class Transactions:
    """One kind of session on one database; at most one transaction at a time."""

    name = ""

    def __init__(self, url: str, bus: EventBus, **engine_options: Any) -> None:
        self.url = url
        self.bus = bus
        self.engine_options = engine_options
        self.open()

    def open(self) -> None:
        self.engine = application_engine(self.url, **self.engine_options)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits at the end of the block, rolls back when it raises."""
        raise NotImplementedError
        yield

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction; rolled back when the block raises."""
        with self.session.begin_nested():
            yield

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        """A session or connection that has no transaction."""
        raise NotImplementedError
        yield

    session: Any = None

    def publish(self, published: Event, **options: Any) -> str:
        return self.bus.publish(published, session=self.session, **options)

    def publish_many(self, published: Sequence[Event], **options: Any) -> list[str]:
        return self.bus.publish_many(published, session=self.session, **options)

    def flush(self) -> None:
        """Send what waits in a session, whose error would else come at the commit."""

    def close(self) -> None:
        self.engine.dispose()


class WithSession(Transactions):
    name = "Session"

    def make(self) -> Any:
        return Session(self.engine)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.session = self.make()
        try:
            with self.session.begin():
                yield
        finally:
            self.session.close()

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        self.session = self.make()
        yield
        self.session.close()


class WithScopedSession(WithSession):
    name = "scoped_session"

    def make(self) -> Any:
        return scoped_session(sessionmaker(self.engine))


class WithConnection(Transactions):
    name = "Connection"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self.engine.begin() as self.session:
            yield

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        with self.engine.connect() as self.session:
            yield


class Asynchronous(Transactions):
    def open(self) -> None:
        url = make_url(self.url)
        driver = ASYNC_DRIVERS[url.get_backend_name()]
        self.loop = asyncio.new_event_loop()
        self.async_engine = create_async_engine(
            url.set(drivername=f"{url.get_backend_name()}+{driver}"),
            poolclass=NullPool,
            **self.engine_options,
        )
        self.engine = self.async_engine.sync_engine
        if self.engine.dialect.name == "sqlite":
            let_sqlalchemy_begin(self.engine)

    def run(self, made: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return await made()

        return self.loop.run_until_complete(call())

    @contextlib.contextmanager
    def entered(self, manager: Any) -> Iterator[Any]:
        value = self.run(manager.__aenter__)
        try:
            yield value
        except BaseException as error:
            caught = error
            if not self.run(lambda: manager.__aexit__(type(caught), caught, None)):
                raise
        else:
            self.run(lambda: manager.__aexit__(None, None, None))

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        with self.entered(self.session.begin_nested()):
            yield

    def close(self) -> None:
        self.run(self.async_engine.dispose)
        self.loop.close()


class WithAsyncSession(Asynchronous):
    name = "AsyncSession"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self.session = AsyncSession(self.async_engine)
        with self.entered(self.session), self.entered(self.session.begin()):
            yield

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        with self.entered(AsyncSession(self.async_engine)) as self.session:
            yield

    def flush(self) -> None:
        self.run(self.session.flush)


class WithAwaitedAsyncSession(WithAsyncSession):
    name = "AsyncSession, awaited"

    def publish(self, published: Event, **options: Any) -> str:
        made: str = self.run(
            lambda: self.bus.publish_async(published, session=self.session, **options)
        )
        return made


class WithAsyncConnection(Asynchronous):
    name = "AsyncConnection"

    publish = WithAwaitedAsyncSession.publish  # type: ignore[assignment]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self.entered(self.async_engine.begin()) as self.session:
            yield

    @contextlib.contextmanager
    def outside(self) -> Iterator[None]:
        with self.entered(self.async_engine.connect()) as self.session:
            yield


KINDS: tuple[type[Transactions], ...] = (
    WithSession,
    WithScopedSession,
    WithConnection,
    WithAsyncSession,
    WithAwaitedAsyncSession,
    WithAsyncConnection,
)
