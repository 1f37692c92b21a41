"""What a handler is given beside the event."""

from __future__ import annotations

import contextvars
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventbus.envelope import Envelope, extensions_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from eventbus.bus import EventBus


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
    """

    bus: EventBus
    envelope: Envelope
    handler: str
    queue: str
    attempt: int
    headers: dict[str, Any]
    _session: Any = None

    def with_session(self, session: Any) -> Context:
        """The same in the transaction of `session`."""
        return Context(
            self.bus,
            self.envelope,
            self.handler,
            self.queue,
            self.attempt,
            self.headers,
            session,
        )

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


#: The context of the handler that runs here; what it publishes is caused by its event.
current_context: contextvars.ContextVar[Context | None] = contextvars.ContextVar(
    "eventbus_context", default=None
)
