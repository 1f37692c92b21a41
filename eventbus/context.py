"""What a handler is given beside the event."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from eventbus.envelope import Envelope, extensions_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventbus.bus import EventBus
    from eventbus.event import Event
    from eventbus.fetching import Fetches
    from eventbus.references import Ref


class Loop(Protocol):
    """An event loop that runs on a thread of its own."""

    def wait(self, awaitable: Awaitable[Any], /) -> None:
        """Await it there, while the calling thread waits."""


@dataclass(frozen=True)
class Context:
    """The circumstances of one run of a handler.

    Parameters
    ----------
    bus:
        The bus that the handler is declared on; publish with it and this event becomes the cause.
    envelope:
        The event's CloudEvents attributes.
    handler, queue:
        Name of the handler, full name of its queue.
    attempt:
        1 for the first run of this handler for this event.
    headers:
        All headers of the message, also those of a foreign producer.
    loop:
        The worker's event loop, for what a plain function wants to be awaited.
    """

    bus: EventBus
    envelope: Envelope
    handler: str
    queue: str
    attempt: int
    headers: dict[str, Any]
    _session: Any = None
    loop: Loop | None = field(default=None, repr=False, compare=False)

    def with_session(self, session: Any) -> Context:
        """The same in the transaction of `session`."""
        context = Context(
            self.bus,
            self.envelope,
            self.handler,
            self.queue,
            self.attempt,
            self.headers,
            session,
            self.loop,
        )
        vars(context)["_fetches"] = self.fetches
        return context

    @property
    def event_id(self) -> str:
        """CloudEvents ``id``: give it to a payment provider as its idempotency key."""
        return self.envelope.id

    @property
    def extensions(self) -> dict[str, str]:
        """CloudEvents extension attributes, such as a middleware of the publisher has added."""
        return extensions_of(self.headers)

    @property
    def session(self) -> Session:
        """The database session of a transactional handler; eventbus commits it, not the handler.

        Raises
        ------
        AttributeError
            The handler is not declared with ``transactional=True``.
        """
        if self._session is None:
            raise AttributeError(
                f"handler {self.handler!r} has no session; declare it with transactional=True"
            )
        session: Session = self._session
        return session

    def fetch(self, of: Event | Ref | str, id: object = None) -> Any:
        """Ask the source of truth for the thing that an event is about.

        Each thing is asked for once in a run, however often and by how many coroutines at a time;
        a retry asks anew. Where a coroutine runs, as in a coroutine handler, it is awaited::

            order = context.fetch(event)
            order = await context.fetch(event)

        Parameters
        ----------
        of:
            An event, which tells by its name and its fields what it is about
            (`eventbus.sources.subject_of`); a `eventbus.Ref`; or the name of a source, with `id`.
        id:
            The identifier, where `of` is a name.

        Returns
        -------
        Any
            What the source returned, and never None.

        Raises
        ------
        Gone
            There is no such thing any more. Let it escape, and the event is skipped, dead-lettered
            or retried, as the source was declared.
        UnknownName
            No source of that name is declared.
        DeclarationError
            The event does not tell what it is about, or a source asks itself.
        ValidationError
            The identifier is none that the source takes.

        What the source itself raises is a failure of the handler like any other.
        """
        from eventbus.fetching import fetch

        return fetch(self, of, id)

    @property
    def fetches(self) -> Fetches:
        """What this run has fetched so far."""
        from eventbus.fetching import Fetches

        # Made when it is first needed, by whichever thread comes first: few handlers fetch.
        found: Fetches = vars(self).get("_fetches") or vars(self).setdefault("_fetches", Fetches())
        return found


#: The context of the handler that runs here; what it publishes is caused by its event.
current_context: contextvars.ContextVar[Context | None] = contextvars.ContextVar(
    "eventbus_context", default=None
)
