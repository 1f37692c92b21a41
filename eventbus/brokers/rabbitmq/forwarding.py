"""Copies of delivered messages on their way to a retry or dead-letter queue."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from eventbus.backoff import Backoff
from eventbus.brokers.port import Confirmation, Forward
from eventbus.brokers.rabbitmq.address import Address
from eventbus.brokers.rabbitmq.codec import (
    COPY_HEADERS,
    ROUTING_KEY_HEADER,
    Unencodable,
    encode_properties,
    encode_table,
)
from eventbus.brokers.rabbitmq.connection import FRAME_MAX
from eventbus.brokers.rabbitmq.link import new_backoff
from eventbus.brokers.rabbitmq.publisher import ConfirmingLink, Outgoing
from eventbus.message import REASON_HEADER, TRACEBACK_HEADER, Message
from eventbus.topology import (
    Queue,
    dead_letter_queue_name,
    overflow_queue_name,
    retry_level_ms,
    retry_queue_name,
    subscription_topology,
)

logger = logging.getLogger(__name__)

#: What is kept of a reason and of the end of a traceback, in characters.
REASON_CHARACTERS = 2_000
TRACEBACK_CHARACTERS = 16_000
#: What the properties of a copy may take: a frame, less room for the frame around them and for
#: what the broker adds when it dead-letters the copy (``x-death``). A content header cannot be
#: split, and a larger one closes the connection (AMQP 0-9-1 §4.2.6).
PROPERTIES_MAX = FRAME_MAX - 4_096

#: How often what waits for the connection looks whether it is there.
LINK_SECONDS = 0.05

#: The length in front of a header table.
_TABLE_LENGTH = 4

#: The broker's own record of a message's way. A copy begins anew: with the old ``x-death`` the
#: broker takes the way back from a retry queue for a cycle and drops the message.
_BROKER_HEADERS = ("x-death", "x-delivery-count")
_BROKER_PREFIXES = ("x-first-death-", "x-last-death-")


def copy_of(message: Message) -> Message:
    """`message` as it is sent on to one queue, through the default exchange.

    The routing key becomes a header, headers that would make the broker send it elsewhere or drop
    it are taken off, and what does not fit a frame is cut.
    """
    headers = {
        name: value
        for name, value in message.headers.items()
        if name not in COPY_HEADERS
        and name not in _BROKER_HEADERS
        and not name.startswith(_BROKER_PREFIXES)
    }
    _cut(headers, REASON_HEADER, slice(None, REASON_CHARACTERS))
    _cut(headers, TRACEBACK_HEADER, slice(-TRACEBACK_CHARACTERS, None))
    headers[ROUTING_KEY_HEADER] = message.routing_key
    return _fitting(
        replace(
            message,
            headers=headers,
            message_id=_short(message.message_id),
            type=_short(message.type),
            content_type=_short(message.content_type),
            content_encoding=_short(message.content_encoding),
            correlation_id=_short(message.correlation_id),
            app_id=_short(message.app_id),
        )
    )


def _short(value: str | None) -> str | None:
    """`value` within the 255 bytes of AMQP's short string.

    One that was not UTF-8 has become longer when it was made readable.
    """
    if value is None or len(value) <= 63:
        return value
    return value.encode("utf-8", "backslashreplace")[:255].decode("utf-8", "ignore")


def _cut(headers: dict[str, Any], name: str, kept: slice) -> None:
    value = headers.get(name)
    if isinstance(value, (str, bytes)):
        headers[name] = value[kept]


def _fitting(message: Message) -> Message:
    """`message`, without its largest headers where all together do not fit a frame.

    Each header is measured once: a foreign message may have ten thousands of them.
    """
    with contextlib.suppress(Unencodable):
        if len(encode_properties(message)) <= PROPERTIES_MAX:
            return message
    sizes = {name: _encoded_size(name, value) for name, value in message.headers.items()}
    bare = len(encode_properties(replace(message, headers={}))) + _TABLE_LENGTH
    excess = bare + sum(sizes.values()) - PROPERTIES_MAX
    left_out = {name for name, size in sizes.items() if size == 0}
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess <= 0:
            break
        if name != ROUTING_KEY_HEADER:
            left_out.add(name)
            excess -= sizes[name]
    if not left_out:
        return message
    logger.warning(
        "message %s goes on without %d headers that do not fit: %.500s",
        message.message_id,
        len(left_out),
        ", ".join(sorted(left_out)),
    )
    kept = {name: value for name, value in message.headers.items() if name not in left_out}
    return replace(message, headers=kept)


def _encoded_size(name: str, value: Any) -> int:
    """Bytes of one header; 0 for what cannot be encoded."""
    try:
        return len(encode_table({name: value}))
    except Unencodable:
        return 0


@dataclass(slots=True)
class _Errand:
    """The copies that must be confirmed before one delivery is acknowledged."""

    queue: str
    outgoing: list[Outgoing]
    is_wanted: Callable[[], bool]
    done: Callable[[], None]
    backoff: Backoff = field(default_factory=new_backoff)


@dataclass(slots=True)
class Forwarder:
    """Publishes copies until the broker has them; opens its connection with the first one.

    Parameters
    ----------
    addresses, name:
        As of the consumer.
    """

    addresses: Sequence[Address]
    name: str
    _link: ConfirmingLink | None = None
    _closed: bool = False
    _declaring: set[str] = field(default_factory=set)
    #: What waits for the connection, in order; sent all together once it is there.
    _unsent: deque[_Errand] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def forward(
        self,
        queue: str,
        forwards: Sequence[Forward],
        is_wanted: Callable[[], bool],
        done: Callable[[], None],
    ) -> None:
        """Send `forwards` of a message of `queue`, again and again; then call `done` (once).

        `is_wanted` is asked before each attempt: when the delivery's connection is gone, the
        broker delivers it anew, and its copy would be one too many.
        """
        outgoing = [("", _target(queue, one), copy_of(one.message)) for one in forwards]
        self._send([_Errand(queue, outgoing, is_wanted, done)])

    @property
    def trouble(self) -> str | None:
        """Why copies do not get through now, else None."""
        return None if self._link is None else self._link.trouble

    def close(self) -> None:
        """Close the connection; `done` of what is under way is not called any more."""
        self._closed = True
        if self._link is not None:
            self._link.close()

    def _open(self) -> ConfirmingLink:
        if self._link is None:
            self._link = ConfirmingLink(self.addresses, f"{self.name} forwards")
        return self._link

    def _send(self, errands: Sequence[_Errand]) -> None:
        link = self._open()
        for errand in errands:
            if self._closed or not errand.is_wanted():
                continue
            with self._lock:
                # Behind what waits already, or the copies would change places.
                if self._unsent or link.trouble is not None:
                    self._wait_for_link(errand)
                    continue
            link.send(errand.outgoing).add_done_callback(partial(self._sent, errand))

    def _sent(self, errand: _Errand, future: Future[list[Confirmation]]) -> None:
        confirmations = future.result()
        left = [
            (one, confirmation)
            for one, confirmation in zip(errand.outgoing, confirmations, strict=True)
            if confirmation is not Confirmation.ROUTED
        ]
        if not left:
            errand.done()
            return
        errand.outgoing = [one for one, _ in left]
        if all(confirmation is Confirmation.UNKNOWN for _, confirmation in left):
            self._wait_for_link(errand)
        else:
            self._try_again(errand, [confirmation for _, confirmation in left])

    def _wait_for_link(self, errand: _Errand) -> None:
        with self._lock:
            self._unsent.append(errand)
            if len(self._unsent) == 1:
                self._later(LINK_SECONDS, self._send_unsent)

    def _send_unsent(self) -> None:
        if self._open().trouble is not None:
            self._later(LINK_SECONDS, self._send_unsent)
            return
        with self._lock:
            errands, self._unsent = self._unsent, deque()
            self._send(errands)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        link = self._open().link
        link.call(lambda: link.call_later(seconds, function))

    def _try_again(self, errand: _Errand, confirmations: Sequence[Confirmation]) -> None:
        missing = [
            routing_key
            for (_, routing_key, _), confirmation in zip(
                errand.outgoing, confirmations, strict=True
            )
            if confirmation is Confirmation.UNROUTED
        ]
        for name in set(missing) - self._declaring:
            self._declare(errand.queue, name)
        if Confirmation.REFUSED in confirmations:
            logger.warning("a copy for %s was refused; trying again", errand.outgoing[0][1])
        self._later(errand.backoff.next(), lambda: self._send([errand]))

    def _declare(self, queue: str, missing: str) -> None:
        """Create a retry or dead-letter queue that an operator deleted or a deployment forgot."""
        declared = _declaration(queue, missing)
        if declared is None:
            logger.error("queue %r does not exist; what is in %r waits for it", missing, queue)
            return
        link = self._open().link
        # A retry queue above the policy's longest delay is made when a handler asks for it.
        expected = missing.startswith(retry_queue_name(queue, 0)[:-1])
        logger.log(
            logging.INFO if expected else logging.ERROR,
            "queue %r does not exist; declaring it, so that %r can go on",
            missing,
            queue,
        )
        self._declaring.add(missing)

        def on_io_thread() -> None:
            connection = link.connection
            if connection is None or not connection.is_open:
                self._declaring.discard(missing)
                return
            channel = connection.channel(on_open_callback=opened)
            channel.add_on_close_callback(closed)

        def opened(channel: Any) -> None:
            channel.queue_declare(
                declared.name,
                durable=True,
                arguments=declared.arguments,
                callback=lambda _frame: channel.close(),
            )

        def closed(_channel: Any, error: Any) -> None:
            self._declaring.discard(missing)
            if getattr(error, "reply_code", 0) not in (0, 200):
                logger.error("queue %r cannot be declared: %s", missing, error)

        link.call(on_io_thread)


def _target(queue: str, forward: Forward) -> str:
    if forward.queue is not None:
        return forward.queue
    if forward.delay_ms is None:
        return dead_letter_queue_name(queue)
    return retry_queue_name(queue, retry_level_ms(forward.delay_ms))


def _declaration(queue: str, name: str) -> Queue | None:
    """What the topology of `queue`, or of that which it is the overflow of, says of `name`.

    None for a subscription's own queue: only the application knows its bounds.
    """
    level = name.rsplit(".", 1)[-1]
    for subscription in (queue, queue.removesuffix(overflow_queue_name(""))):
        topology = subscription_topology(
            "", subscription, (), longest_delay_ms=int(level) if level.isdigit() else 0
        )
        for one in topology.queues:
            if one.name == name != subscription:
                return one
    return None
