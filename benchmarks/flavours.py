"""The same event once without any validation, and in each format with its contract."""

from __future__ import annotations

import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from eventbus import Event, EventBus
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.fingerprints import fingerprint, id_of
from eventbus.contracts.lock_files import LockedVersion, LockFile, write_lock

from .workload import QUEUE, SERVICE

UNCHECKED = "unchecked"
FLAVOURS = (UNCHECKED, "json", "avro", "protobuf")


class Unchecked(Event, name="order.unchecked"):
    """Its values are converted and not looked at: what validation costs is what it does without."""

    order_id: uuid.UUID
    number: int
    paid_at: datetime

    def __wire__(self) -> dict[str, Any]:
        values = self.__dict__
        return {
            "order_id": str(values["order_id"]),
            "number": values["number"],
            "paid_at": values["paid_at"].isoformat(),
        }

    @classmethod
    def __read__(cls, data: Any) -> Unchecked:
        return cls.__from_valid__(
            {
                "order_id": uuid.UUID(data["order_id"]),
                "number": data["number"],
                "paid_at": datetime.fromisoformat(data["paid_at"]),
            }
        )


class InJson(Event, name="order.json"):
    """As JSON."""

    order_id: uuid.UUID
    number: int
    paid_at: datetime


class InAvro(Event, name="order.avro", format="avro"):
    """As Avro."""

    order_id: uuid.UUID
    number: int
    paid_at: datetime


class InProtobuf(Event, name="order.protobuf", format="protobuf"):
    """As Protobuf."""

    order_id: uuid.UUID
    number: int
    paid_at: datetime


_CLASSES: dict[str, type[Event]] = dict(
    zip(FLAVOURS, (Unchecked, InJson, InAvro, InProtobuf), strict=True)
)


def bus_of(flavour: str, handler: Any = None, **settings: Any) -> EventBus:
    """A bus with one handler for the events of `flavour`."""
    bus = EventBus(SERVICE, **settings)
    event_class = _CLASSES[flavour]
    bus.handler(event_class, queue=QUEUE, name="handler")(_typed(handler or _ignore, event_class))
    return bus


def _ignore(event: Any) -> None:
    """A handler that does nothing."""


def _typed(handler: Any, event_class: type[Event]) -> Any:
    def handle(event: Any) -> None:
        handler(event)

    handle.__annotations__["event"] = event_class
    return handle


def events_of(flavour: str, count: int) -> list[Event]:
    """Events numbered from 0."""
    now = datetime.now(timezone.utc)
    event_class = _CLASSES[flavour]
    return [event_class(order_id=uuid.uuid4(), number=n, paid_at=now) for n in range(count)]


def lock(folder: str, flavour: str) -> None:
    """Write the lock file of the flavour; what is not checked has none."""
    if flavour == UNCHECKED:
        return
    event_class = _CLASSES[flavour]
    contract = writer_contract(event_class)
    mark = fingerprint(contract)
    versions = (LockedVersion(1, id_of(mark), mark, contract),)
    write_lock(Path(folder), LockFile(event_class.__event_name__, contract.format, versions))
