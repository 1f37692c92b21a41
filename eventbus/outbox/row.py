"""An event as a row of the outbox."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from eventbus.attributes import is_string
from eventbus.context import current_context
from eventbus.deprecation import warn_of_deprecated
from eventbus.envelope import Envelope, check_extensions, epoch_ms
from eventbus.errors import ValidationError
from eventbus.event import Event
from eventbus.identifiers import new_event_id
from eventbus.outbox.outgoing import PLAIN, Outgoing

#: What a dispatcher listens on, to learn of new rows (`eventbus.wakeup`).
OUTBOX_CHANNEL = "eventbus_outbox"
#: The width of the columns, and of what an AMQP header should carry.
KEY_MAX_LENGTH = 255
#: The unit that dispatchers lease, and so the most of them that can share one outbox. The number
#: is part of the data, as each row carries its shard.
SHARDS = 32
#: Far enough for any plan, near enough to find a mistaken unit.
LONGEST_DELAY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One event, ready to be inserted; the columns of `eventbus.tables.outbox`."""

    event_id: str
    name: str
    partition_key: str | None
    shard: int
    attributes: str
    body: bytes
    created_at_ms: int
    available_at_ms: int
    state: str
    attempts: int = 0

    def columns(self) -> dict[str, Any]:
        """Column name to value."""
        return {name: getattr(self, name) for name in self.__slots__}


def shard_of(key: str) -> int:
    """The shard of a partition key: the same in every process and on every machine."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % SHARDS


def make_row(
    event: Event,
    *,
    source: str,
    key: object = None,
    delay: timedelta | None = None,
    subject: str | None = None,
    attributes: Mapping[str, str] | None = None,
    max_bytes: int,
    outgoing: Callable[[type[Event]], Outgoing] = lambda event_class: PLAIN,
) -> OutboxRow:
    """Validate `event` and return its row, with a new id and the present time.

    Parameters
    ----------
    source:
        CloudEvents ``source``: the publishing service.
    key:
        Events with the same key leave the outbox in order.
    delay:
        How long the event stays in the outbox before it is published.
    attributes:
        CloudEvents extension attributes.
    outgoing:
        How events of a class are written (`eventbus.contracts.publishing`); as JSON, if not said.

    Raises
    ------
    ValidationError
        It is no event, its data does not fit its class or its contract, or key, delay, subject or
        an attribute cannot be used.
    """
    if not isinstance(event, Event) or not type(event).__event_name__:
        raise ValidationError(
            f"{event!r:.200} is not an event; publish an instance of a class declared with "
            f"class OrderPaid(Event, name='order.paid')"
        )
    if type(event).__deprecates__:
        warn_of_deprecated(event)
    written = outgoing(type(event))
    body = written.encode(event)
    if len(body) > max_bytes:
        raise ValidationError(
            f"{type(event).__event_name__} has {len(body)} bytes, more than max_message_bytes="
            f"{max_bytes}; publish identifiers and let the consumer ask for the rest"
        )
    now = datetime.now(timezone.utc)
    cause = current_context.get()
    event_id = str(new_event_id())
    partition_key = None if key is None else _text("key", str(key))
    envelope = Envelope(
        id=event_id,
        source=source,
        type=type(event).__event_name__,
        time=now,
        subject=None if subject is None else _text("subject", subject),
        correlationid=(cause.envelope.correlationid or cause.envelope.id) if cause else None,
        causationid=cause.envelope.id if cause else None,
        partitionkey=partition_key,
        traceparent=cause.envelope.traceparent if cause else None,
    )
    found = envelope.attributes()
    found.update(written.attributes)
    if attributes:
        check_extensions(attributes)
        found.update(attributes)
    created = epoch_ms(now)
    delay_ms = _delay_ms(delay)
    return OutboxRow(
        event_id=event_id,
        name=envelope.type,
        partition_key=partition_key,
        shard=shard_of(partition_key or event_id),
        attributes=json.dumps(found, ensure_ascii=False, separators=(",", ":")),
        body=body,
        created_at_ms=created,
        available_at_ms=created + delay_ms,
        state="delayed" if delay_ms else "pending",
    )


def _delay_ms(delay: timedelta | None) -> int:
    if delay is None:
        return 0
    if not isinstance(delay, timedelta) or not timedelta(0) <= delay <= LONGEST_DELAY:
        raise ValidationError(
            f"delay={delay!r} cannot be used; give a timedelta of zero to {LONGEST_DELAY.days} days"
        )
    return int(delay.total_seconds() * 1000)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= KEY_MAX_LENGTH or not is_string(value):
        raise ValidationError(
            f"{name}={value!r:.80} cannot be used; give 1 to {KEY_MAX_LENGTH} characters, none of "
            f"them a control character or a lone surrogate"
        )
    return value


def attributes_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The CloudEvents attributes of a stored row."""
    found: dict[str, str] = json.loads(row["attributes"])
    return found


def now_ms() -> int:
    """This machine's clock, epoch milliseconds."""
    return time.time_ns() // 1_000_000
