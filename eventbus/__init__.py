"""Event-driven boundaries for Python services, on RabbitMQ.

A service changes its own state and tells the others in the same database transaction. Importing
this package loads no broker client, no database toolkit and no web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventbus.annotations import Alias, Deprecated, Number, Places
from eventbus.breaker import Breaker
from eventbus.bus import EventBus
from eventbus.context import Context
from eventbus.directives import Reject, RetryLater, Skip
from eventbus.errors import (
    EventBusError,
    NotInTransaction,
    SoftTimeLimitExceeded,
    ValidationError,
)
from eventbus.event import Event, Struct
from eventbus.middleware import PublishOptions
from eventbus.references import Ref
from eventbus.retry import Retry
from eventbus.shared_handlers import shared_handler
from eventbus.sources import Gone

if TYPE_CHECKING:
    from eventbus.outbox.recorder import RecordsEvents

__version__ = "0.1.0"

__all__ = [
    "Alias",
    "Breaker",
    "Context",
    "Deprecated",
    "Event",
    "EventBus",
    "EventBusError",
    "Gone",
    "NotInTransaction",
    "Number",
    "Places",
    "PublishOptions",
    "RecordsEvents",
    "Ref",
    "Reject",
    "Retry",
    "RetryLater",
    "Skip",
    "SoftTimeLimitExceeded",
    "Struct",
    "ValidationError",
    "__version__",
    "shared_handler",
]


def __getattr__(name: str) -> Any:
    # The mixin listens to SQLAlchemy's sessions, so SQLAlchemy is loaded by whoever asks for it.
    if name == "RecordsEvents":
        from eventbus.outbox.recorder import RecordsEvents

        return RecordsEvents
    raise AttributeError(f"module 'eventbus' has no attribute {name!r}")
