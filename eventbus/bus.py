"""The bus: what an application imports to publish events and to declare handlers."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from eventbus.attributes import check_source
from eventbus.breaker import DEFAULT_BREAKER, Breaker
from eventbus.dependencies import Dependencies
from eventbus.discovery import import_modules
from eventbus.django import project
from eventbus.errors import DeclarationError, UnknownName
from eventbus.event import Event, named_events
from eventbus.hooks import Hooks, check_name
from eventbus.middleware import (
    PUBLISH,
    PublishOptions,
    call_through,
    check_around_all,
    check_middleware,
    scopes,
)
from eventbus.outbox.row import OutboxRow, make_row
from eventbus.patterns import matches
from eventbus.rate_limit import RateLimit
from eventbus.retry import Retry
from eventbus.settings import Settings
from eventbus.shared_handlers import SharedHandler, declared_in
from eventbus.sources import Source, make_source, named_thing
from eventbus.subscription import Handler, Subscription, make_handler
from eventbus.topology import (
    DEFAULT_MAX_LENGTH,
    Exchange,
    Overflow,
    Topology,
    check_name_part,
)

if TYPE_CHECKING:
    from sqlalchemy import MetaData
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session, scoped_session

    from eventbus.brokers.port import Broker
    from eventbus.contracts.publishing import Publishing
    from eventbus.references import Ref

    AnySession = Session | scoped_session[Any] | AsyncSession | Connection

_Function = TypeVar("_Function", bound=Callable[..., Any])

_buses: weakref.WeakSet[EventBus] = weakref.WeakSet()


def live_buses() -> list[EventBus]:
    """Every bus of this process."""
    return list(_buses)


def discover_installed(bus: EventBus) -> None:
    """Let the only bus of a Django project have the handlers of its installed applications.

    With several buses each says itself, with `EventBus.autodiscover`, which are its own.
    """
    if project.configured() and live_buses() == [bus]:
        bus.autodiscover()


class EventBus:
    """Publishes events and declares handlers for one service.

    Making one reads the settings and connects to nothing.

    Parameters
    ----------
    service:
        The service's name: CloudEvents ``source``, and the first part of its queues' names.
    retry:
        The policy of handlers that name none.
    framework:
        Settings from a web framework's configuration, below the environment; a configured Django
        project is found by itself.
    settings:
        See `eventbus.settings.Settings`; each also as ``EVENTBUS_<NAME>`` in the environment.

    Raises
    ------
    ConfigurationError
        A setting cannot be used; the text names it, its value and what would do.

    Example::

        bus = EventBus("shop", database_url="postgresql+psycopg://localhost/shop")
    """

    def __init__(
        self,
        service: str,
        *,
        retry: Retry | None = None,
        framework: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.service = check_source(check_name_part("service name", service))
        framework = project.settings() if framework is None else framework
        self.settings = Settings.load(settings, framework=framework)
        self.retry = retry or Retry()
        self._subscriptions: dict[str, Subscription] = {}
        self._handlers: dict[str, Handler] = {}
        self._sources: dict[str, Source] = {}
        self._adopted: set[SharedHandler] = set()
        #: Called with what happens in workers and dispatchers; see `eventbus.hooks`.
        self.hooks = Hooks()
        self._middlewares: list[object] = []
        self._publish_scopes: tuple[Callable[..., Any], ...] = ()
        django = False
        if project.configured():
            self.add_middleware(project.FreshConnections())
            # Now, as long as the database has the name that the settings give it.
            django = project.alias_of(self.settings.database_url) is not None
        self.dependencies = Dependencies(django=django)
        _buses.add(self)

    def __repr__(self) -> str:
        return f"EventBus({self.service!r})"

    # -- publishing ---------------------------------------------------------------------------

    def publish(
        self,
        event: Event,
        *,
        session: AnySession | None = None,
        key: object = None,
        delay: timedelta | None = None,
        subject: str | None = None,
    ) -> str:
        """Write `event` to the outbox in the caller's transaction; never commits.

        Parameters
        ----------
        session:
            The SQLAlchemy ``Session``, ``AsyncSession`` or ``Connection`` whose transaction
            changes the data. Inside Django's ``transaction.atomic()`` it can be left out.
        key:
            Events with the same key leave the outbox in the order of their transactions;
            usually the aggregate's id.
        delay:
            How long the event waits in the outbox first; it is then not ordered with its key.
        subject:
            CloudEvents ``subject``.

        Returns
        -------
        str
            The event's id, a UUIDv7.

        Raises
        ------
        NotInTransaction
            No transaction would carry the event.
        ValidationError
            The event does not fit its declaration or its contract; nothing was written.
        """
        row = self._row(event, key, delay, subject)
        self._writer(session).write([row])
        return row.event_id

    def publish_many(
        self,
        events: Iterable[Event],
        *,
        session: AnySession | None = None,
        key: object | Callable[[Any], object] = None,
        delay: timedelta | None = None,
    ) -> list[str]:
        """Write several events in one statement; all are validated before any is written.

        Parameters
        ----------
        key:
            One key for all, or a function from the event to its key.

        Returns
        -------
        list of str
            The ids, in order.
        """
        key_of = key if callable(key) else lambda event: key
        rows = [self._row(event, key_of(event), delay, None) for event in events]
        if rows:
            self._writer(session).write(rows)
        return [row.event_id for row in rows]

    async def publish_async(
        self,
        event: Event,
        *,
        session: AsyncConnection | AsyncSession,
        key: object = None,
        delay: timedelta | None = None,
        subject: str | None = None,
    ) -> str:
        """Like `publish`, but the row is inserted at once; the only way with an AsyncConnection."""
        from eventbus.outbox.writer import write_async

        row = self._row(event, key, delay, subject)
        await write_async(session, [row], self.settings.database_url)
        return row.event_id

    def _row(
        self, event: Event, key: object, delay: timedelta | None, subject: str | None
    ) -> OutboxRow:
        options = PublishOptions(key, delay, subject)
        if not self._publish_scopes or not isinstance(event, Event):
            return self._make_row(event, options)
        rows: list[OutboxRow] = []

        def make(event: Event, options: PublishOptions) -> str:
            # A scope may call it again: what it passed on last counts.
            rows[:] = [self._make_row(event, options)]
            return rows[0].event_id

        call_through(self._publish_scopes, make, event, options)
        return rows[0]

    def _make_row(self, event: Event, options: PublishOptions) -> OutboxRow:
        return make_row(
            event,
            source=self.service,
            key=options.key,
            delay=options.delay,
            subject=options.subject,
            attributes=options.attributes,
            max_bytes=self.settings.max_message_bytes,
            outgoing=self._publishing.outgoing,
        )

    @cached_property
    def _publishing(self) -> Publishing:
        from eventbus.contracts.publishing import Publishing

        return Publishing(self)

    def _writer(self, session: Any) -> Any:
        if session is None and project.configured():
            from eventbus.django.writer import writer_in_atomic_block

            writer = writer_in_atomic_block(self.settings.database_url)
            if writer is not None:
                return writer
        from eventbus.outbox.writer import writer_for

        return writer_for(session, self.settings.database_url)

    # -- handling -----------------------------------------------------------------------------

    def handler(
        self,
        *patterns: str | type[Event],
        queue: str | None = None,
        name: str | None = None,
        retry: Retry | None = None,
        transactional: bool = False,
        max_concurrency: int | None = None,
        rate_limit: RateLimit | str | None = None,
        time_limit: timedelta | None = None,
        soft_time_limit: timedelta | None = None,
    ) -> Callable[[_Function], _Function]:
        """Declare a function as the handler of the events that match `patterns`.

        Parameters
        ----------
        patterns:
            Routing keys such as ``order.paid``, patterns such as ``order.*``, or event classes.
        queue:
            The subscription; handlers of one queue share its messages and its workers.
            Default: the handler's name.
        name:
            Part of the idempotency key, unique in the service. Default: the function's name.
        retry:
            Default: the bus's.
        transactional:
            Run in a database transaction that also records the event in the inbox:
            ``context.session``; the effect then happens exactly once.
        max_concurrency:
            Runs at the same time in one process. Others of its messages wait, and hold up no other
            handler.
        rate_limit:
            Runs that one process begins in a second, minute or hour, such as ``"100/s"``.
        time_limit, soft_time_limit:
            How long a run may take; see `eventbus.workers.options.WorkerOptions`, whose limits
            they replace.

        Raises
        ------
        DeclarationError
            The patterns, the function's parameters or the names cannot work.

        Example::

            @bus.handler("order.paid", queue="billing")
            def charge(event: OrderPaid, context: Context) -> None: ...
        """
        if len(patterns) == 1 and inspect.isroutine(patterns[0]):
            # Written without parentheses, the decorator would return and declare nothing.
            raise DeclarationError(
                f"handler {patterns[0].__name__!r} has no routing key; write "
                f"@bus.handler('order.paid', queue=...)"
            )
        namespace = dict(sys._getframe(1).f_locals)

        def declare(function: _Function) -> _Function:
            handler = make_handler(
                function,
                patterns,
                name=name,
                retry=retry or self.retry,
                transactional=transactional,
                namespace=namespace,
                max_concurrency=max_concurrency,
                rate_limit=rate_limit,
                time_limit=time_limit,
                soft_time_limit=soft_time_limit,
            )
            self._declare(handler, check_name_part("queue name", queue or handler.name))
            return function

        return declare

    def queue(
        self,
        name: str,
        *,
        max_length: int = DEFAULT_MAX_LENGTH,
        overflow: str = "dead-letter",
        breaker: Breaker | None = DEFAULT_BREAKER,
    ) -> Subscription:
        """Set what is particular of the queue `name`; a queue needs this only for other values.

        Parameters
        ----------
        max_length:
            Messages it holds at most.
        overflow:
            What becomes of more: ``"dead-letter"`` moves the oldest to the queue's overflow queue,
            from where they come back when there is room; with ``"block"`` the broker refuses new
            ones, and the dispatcher holds their event back in the outbox.
        breaker:
            When workers stop to consume it because nearly all runs of its handlers fail; None for
            never.

        Raises
        ------
        DeclarationError
            A value cannot be used; the text names those that can.
        """
        if not isinstance(max_length, int) or not 1 <= max_length <= 1_000_000_000:
            raise DeclarationError(
                f"queue {name!r}: max_length={max_length!r}; use 1 to 1,000,000,000"
            )
        if breaker is not None and not isinstance(breaker, Breaker):
            raise DeclarationError(
                f"queue {name!r}: breaker={breaker!r:.100}; use Breaker(...), or None for none"
            )
        modes = {one.value: one for one in Overflow}
        if not isinstance(overflow, str) or overflow not in modes:
            raise DeclarationError(
                f"queue {name!r}: overflow={overflow!r}; use {' or '.join(map(repr, modes))}"
            )
        subscription = self._subscription(check_name_part("queue name", name))
        subscription.max_length = max_length
        subscription.overflow = modes[overflow]
        subscription.breaker = breaker
        return subscription

    # -- extending ----------------------------------------------------------------------------

    def add_middleware(self, middleware: object) -> None:
        """Put `middleware` around what is published and around each run of a handler.

        The first one added is the outermost. A worker takes those that are there when it starts;
        see `eventbus.middleware` for the methods.

        Raises
        ------
        DeclarationError
            It has none of the methods, or one of the wrong kind.
        """
        check_middleware(middleware)
        self._middlewares.append(middleware)
        self._publish_scopes = scopes(self._middlewares, PUBLISH)

    @property
    def middlewares(self) -> tuple[object, ...]:
        """Those that were added, the outermost first."""
        return tuple(self._middlewares)

    def on(self, hook: str) -> Callable[[_Function], _Function]:
        """Call a function with what happens in workers and dispatchers.

        Parameters
        ----------
        hook:
            A name such as ``worker_ready``; `eventbus.hooks` lists them and what each gives.

        Raises
        ------
        DeclarationError
            There is no such hook; the text names the nearest.

        Example::

            @bus.on("worker_ready")
            def tell(happening: WorkerReady) -> None: ...
        """
        check_name(hook)

        def add(function: _Function) -> _Function:
            return self.hooks.add(hook, function)

        return add

    def provide(self, kind: Any, factory: Callable[..., Any]) -> None:
        """Give handlers that have a parameter annotated with `kind` what `factory` makes.

        Parameters
        ----------
        kind:
            A class, or another annotation. `Context`, ``logging.Logger``, and with
            ``transactional=True`` SQLAlchemy's ``Session`` are provided by eventbus.
        factory:
            Called for each run, with the `Context` if it has a parameter. A generator function is
            closed after the run, and so is a context manager that gives a `kind`. For coroutine
            handlers it may be asynchronous.

        Raises
        ------
        DeclarationError
            The factory takes something else, or `kind` is provided already.

        Example::

            bus.provide(Bank, lambda context: Bank(idempotency_key=context.event_id))
        """
        self.dependencies.provide(kind, factory)

    def source(self, name: str, *, gone: str = "skip") -> Callable[[_Function], _Function]:
        """Declare a function as the source of truth for the things called `name`.

        Handlers ask it with `eventbus.Context.fetch`. Its first parameter is the identifier, a
        UUID, an int or a str as it is annotated; others are given like those of a handler. It may
        be a coroutine.

        Parameters
        ----------
        name:
            The type of the things, such as ``order``: the type of a `eventbus.Ref`, and what the
            name of an event about one begins with.
        gone:
            What becomes of an event whose handler lets `eventbus.Gone` escape, because the function
            has returned None or raised it: ``"skip"``, there is nothing to do; ``"dead-letter"``,
            where that must not happen; ``"retry"``, where the source may lag behind the event.

        Raises
        ------
        DeclarationError
            The name, the parameters or `gone` cannot work, or there is such a source already.

        Example::

            @bus.source("order")
            def order(id: UUID, session: Session) -> Order | None:
                return session.get(Order, id)
        """
        namespace = dict(sys._getframe(1).f_locals)

        def declare(function: _Function) -> _Function:
            source = make_source(name, function, gone=gone, namespace=namespace)
            if source.name in self._sources:
                raise DeclarationError(
                    f"two sources are called {name!r}: {_where(self._sources[name])} and "
                    f"{_where(source)}; a type of things has one source of truth"
                )
            self._sources[source.name] = source
            return function

        return declare

    def autodiscover(self, *packages: str, module: str = "handlers") -> list[str]:
        """Import the modules that declare handlers, and take over shared handlers.

        Parameters
        ----------
        packages:
            Names of packages, such as ``shop.orders``. In a Django project none stands for all
            installed applications; ``manage.py eventbus`` does that by itself for an only bus.
        module:
            The module to import of each; a package need not have it.

        Returns
        -------
        list of str
            The names of the modules that were found.

        Raises
        ------
        DeclarationError
            There is no such package; or two handlers have the same name. What a module raises when
            it is imported is raised as it is.
        """
        if not packages:
            if not project.configured():
                raise DeclarationError(
                    "autodiscover needs the names of packages: bus.autodiscover('shop.orders')"
                )
            packages = project.installed_packages()
        found = import_modules(packages, module)
        for package in packages:
            for shared in declared_in(package):
                if shared not in self._adopted:
                    self.handler(*shared.patterns, **shared.options)(shared.function)
                    self._adopted.add(shared)
        return found

    def check_handlers(self) -> None:
        """Raise where a worker could not run a handler as it is declared.

        Raises
        ------
        DeclarationError
            Nothing provides one of its parameters, or a middleware would not be around it.
        """
        for handler in self._handlers.values():
            self.dependencies.of(handler)
        for source in self._sources.values():
            self.dependencies.of(source)
        check_around_all(self._middlewares, self._handlers.values())

    # -- declaring ----------------------------------------------------------------------------

    def _declare(self, handler: Handler, queue: str) -> None:
        existing = self._handlers.get(handler.name)
        if existing is not None:
            raise DeclarationError(
                f"two handlers are called {handler.name!r}: {_where(existing)} and "
                f"{_where(handler)}; give one of them another name="
            )
        self._handlers[handler.name] = handler
        self._subscription(queue).handlers.append(handler)

    def _subscription(self, queue: str) -> Subscription:
        return self._subscriptions.setdefault(queue, Subscription(self.service, queue))

    # -- what is declared ---------------------------------------------------------------------

    @property
    def subscriptions(self) -> dict[str, Subscription]:
        """Short queue name to subscription, those with handlers."""
        return {name: s for name, s in self._subscriptions.items() if s.handlers}

    @property
    def handlers(self) -> dict[str, Handler]:
        """Handler name to handler."""
        return dict(self._handlers)

    @property
    def sources(self) -> dict[str, Source]:
        """Name to source of truth."""
        return dict(self._sources)

    def source_of(self, of: Event | Ref | str, id: object = None) -> tuple[Source, Any]:
        """The source of truth of a thing, and the identifier as its function takes it.

        Parameters
        ----------
        of, id:
            As of `eventbus.Context.fetch`.

        Raises
        ------
        UnknownName
            There is none; the text names the nearest.
        """
        name, identifier = named_thing(of, id)
        source = self._sources.get(name)
        if source is None:
            raise UnknownName.among("source", name, self._sources)
        return source, source.key(identifier)

    def subscription(self, queue: str) -> Subscription:
        """The subscription of that short or full queue name.

        Raises
        ------
        UnknownName
            None is declared; the text lists those that are.
        """
        found = self.subscriptions
        for name, subscription in found.items():
            if queue in (name, subscription.queue):
                return subscription
        raise UnknownName.among("queue", queue, found)

    def refusing_bound(self, event_name: str) -> int | None:
        """The smallest ``max_length`` of the queues that take `event_name` and ``block``."""
        return min(
            (
                subscription.max_length
                for subscription in self.subscriptions.values()
                if subscription.overflow is Overflow.BLOCK
                and any(matches(pattern, event_name) for pattern in subscription.patterns)
            ),
            default=None,
        )

    def event_class(self, name: str) -> type[Event]:
        """The event class declared in this process with that name.

        Raises
        ------
        UnknownName
            None is declared; the text names the nearest.
        """
        events = self.events
        if name not in events:
            raise UnknownName.among("event", name, events)
        return events[name]

    @property
    def events(self) -> dict[str, type[Event]]:
        """Name to class: what this process declares, and first of all what the handlers read."""
        events = named_events()
        for handler in self._handlers.values():
            events.update(handler.events)
        return events

    @property
    def published_events(self) -> dict[str, type[Event]]:
        """Name to class of the events that are this service's own: their contracts are registered.

        Those declared with ``source=`` of another service are only read here. Where a handler reads
        one of our own with such a class, what is published is the class without.
        """
        declared = named_events()
        found = {
            name: declared.get(name, cls) if cls.__source__ else cls
            for name, cls in self.events.items()
        }
        return {
            name: cls
            for name, cls in found.items()
            if cls.__source__ is None or cls.__source__ == self.service
        }

    def topology(self, queues: Iterable[str] | None = None) -> Topology:
        """The exchange, and the queues and bindings of all subscriptions or of `queues`."""
        names = self.subscriptions if queues is None else queues
        topology = Topology(exchanges=(Exchange(self.settings.exchange),))
        for name in names:
            topology += self.subscription(name).topology(self.settings.exchange)
        return topology

    # -- servers ------------------------------------------------------------------------------

    @property
    def metadata(self) -> MetaData:
        """The tables of eventbus as SQLAlchemy metadata, for Alembic or ``create_all``."""
        from eventbus import tables

        return tables.metadata

    @property
    def database_url(self) -> str:
        """The setting, or in a Django project the database that it has at present."""
        return project.at_present(self.settings).database_url

    @cached_property
    def engine(self) -> Engine:
        """An engine of our own for `database_url`; publishing uses the caller's, not this."""
        from eventbus.database import make_engine

        return make_engine(self.database_url)

    @cached_property
    def broker(self) -> Broker:
        """The broker that the settings name; opens no connection."""
        from eventbus.brokers import make_broker

        return make_broker(project.at_present(self.settings))


def _where(declared: Handler | Source) -> str:
    function = declared.function
    module = getattr(function, "__module__", "?")
    return f"{module}.{getattr(function, '__qualname__', repr(function))}"
