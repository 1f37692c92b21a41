"""The CloudEvents 1.0 envelope of an event, and its form as an AMQP message.

What the standard demands is demanded (`eventbus.attributes`): an event without an id is refused,
never given one.

Binary mode of the CloudEvents AMQP protocol binding (§3.1): attributes travel as headers
``cloudEvents_<name>``, ``datacontenttype`` as the AMQP property ``content-type``, the data as the
body. Read are also the prefixes ``cloudEvents:`` (the same binding) and ``ce-`` (the HTTP
binding's, which gateways leave in). ``message_id``, ``type``, ``timestamp`` and ``correlation_id``
are mirrored into AMQP properties for people and tools that look at the queue. Structured mode is in
`eventbus.structured`; the content type says which of the two a message is in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from eventbus.attributes import (
    canonical,
    is_absolute_uri,
    is_name,
    is_string,
    is_uri_reference,
    moment,
)
from eventbus.errors import UndecodableMessage, ValidationError
from eventbus.fields import format_timestamp, parse_timestamp
from eventbus.message import WORKER_HEADERS, Message

PREFIX = "cloudEvents_"
PREFIXES = (PREFIX, "cloudEvents:", "ce-")
CONTENT_TYPE = "application/json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json"
#: AMQP protocol binding §3: what begins so is in structured mode, whatever else the message has.
_STRUCTURED = "application/cloudevents"
#: Bytes of the data of an event in structured mode, where no setting is at hand that says how many.
STRUCTURED_MAX_BYTES = 4 * 1024 * 1024

#: Bytes of an id, a source or a type: more would not fit the idempotency tables, nor the AMQP
#: properties that mirror them (short strings, AMQP 0-9-1 §4.2.5.3) when the event causes others.
ID_MAX_BYTES = 255

#: What eventbus writes itself, and what the standard has given a meaning; others are extensions.
KNOWN_ATTRIBUTES = frozenset(
    {
        "causationid", "correlationid", "data", "datacontenttype", "dataschema", "id",
        "partitionkey", "source", "specversion", "subject", "time", "traceparent", "type",
    }
)  # fmt: skip
#: CloudEvents 1.0.2 §3.1: lower-case letters and digits, and should not exceed 20 characters.
_EXTENSION = re.compile(r"[a-z0-9]{1,20}", re.ASCII)
_EXTENSIONS_MAX = 32
_EXTENSION_MAX_LENGTH = 1_000

#: What `read_envelope` reads, and what of it is not to be empty where it is there (§3.1).
_READ = KNOWN_ATTRIBUTES - {"data", "datacontenttype"}
_NOT_EMPTY = ("subject", "dataschema", "partitionkey")
#: What no attribute of a stranger's can hide in, and so what needs no second look.
_USUAL_HEADERS = {PREFIX + name for name in _READ} | WORKER_HEADERS
#: As long as browsers and servers take them.
URI_MAX_LENGTH = 2_048

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Envelope:
    """CloudEvents attributes around an event's data.

    Parameters
    ----------
    id, source, type, subject, time:
        CloudEvents 1.0.2 §3.1. `type` is the event's name and the routing key.
    correlationid, causationid:
        The id of the first event of the chain, and of the event that caused this one.
    partitionkey:
        CloudEvents extension "partitioning": events with the same key keep their order.
    traceparent:
        CloudEvents extension "distributed tracing" (W3C Trace Context).
    dataschema:
        CloudEvents 1.0.2 §3.1: the contract, `eventbus.contracts.dataschema`.
    """

    id: str
    source: str
    type: str
    time: datetime | None = None
    subject: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    partitionkey: str | None = None
    traceparent: str | None = None
    dataschema: str | None = None

    def attributes(self) -> dict[str, str]:
        """The attributes that are set, as CloudEvents strings; ``specversion`` included."""
        found = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
        }
        if self.time is not None:
            found["time"] = format_timestamp(self.time)
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                found[name] = value
        return found


_OPTIONAL = (
    "subject", "correlationid", "causationid", "partitionkey", "traceparent", "dataschema",
)  # fmt: skip


def check_extensions(attributes: Mapping[str, str]) -> None:
    """Refuse what cannot travel as CloudEvents extension attributes.

    Raises
    ------
    ValidationError
        A name or a value cannot be one, or there are too many.
    """
    if len(attributes) > _EXTENSIONS_MAX:
        raise ValidationError(
            f"{len(attributes)} extension attributes are too many; at most {_EXTENSIONS_MAX}"
        )
    for name, value in attributes.items():
        if not _EXTENSION.fullmatch(name) or name in KNOWN_ATTRIBUTES:
            raise ValidationError(
                f"{name[:80]!r} cannot be an extension attribute; use up to 20 lower-case letters "
                f"and digits, and none of CloudEvents' own names"
            )
        if not isinstance(value, str) or len(value) > _EXTENSION_MAX_LENGTH or not is_string(value):
            raise ValidationError(
                f"attribute {name}={value!r:.80} cannot be used; give a string of up to "
                f"{_EXTENSION_MAX_LENGTH:,} characters without control characters"
            )


def extensions_of(headers: Mapping[str, Any]) -> dict[str, str]:
    """The CloudEvents extension attributes in the headers of a message, in their canonical form."""
    found = {}
    for name, value in _attributes_of(headers).items():
        text = None if name in KNOWN_ATTRIBUTES else canonical(value)
        if text is not None:
            found[name] = text
    return found


def to_message(attributes: dict[str, str], body: bytes, timestamp: int) -> Message:
    """The AMQP message for an event.

    Parameters
    ----------
    attributes:
        As `Envelope.attributes` gives them; ``datacontenttype`` where the data are no JSON.
    body:
        The event's data.
    timestamp:
        Epoch seconds, for the AMQP property; CloudEvents ``time`` stays exact.
    """
    name = attributes["type"]
    content_type = CONTENT_TYPE
    if "datacontenttype" in attributes:
        # CloudEvents AMQP binding §3.1.1: a property of the message, and no header.
        attributes = dict(attributes)
        content_type = attributes.pop("datacontenttype")
    return Message(
        body,
        name,
        {_HEADER_NAMES[attribute]: value for attribute, value in attributes.items()},
        attributes["id"],
        name,
        content_type,
        None,
        attributes.get("correlationid"),
        attributes["source"],
        timestamp,
    )


class _HeaderNames(dict[str, str]):
    def __missing__(self, attribute: str) -> str:
        name = self[attribute] = PREFIX + attribute
        return name


_HEADER_NAMES = _HeaderNames()


def in_binary_mode(message: Message, max_bytes: int = STRUCTURED_MAX_BYTES) -> Message:
    """`message` itself, or where it is in structured mode the one that says the same in binary.

    Parameters
    ----------
    max_bytes:
        Of the data; what is larger is not looked into.

    Raises
    ------
    UndecodableMessage
        It is a batch, of an event format that is not read, or no such document.
    """
    content_type = message.content_type
    if content_type == CONTENT_TYPE or content_type is None:
        return message
    if content_type[: len(_STRUCTURED)].lower() != _STRUCTURED:
        return message
    from eventbus.structured import unpacked

    return unpacked(message, max_bytes)


def read_envelope(message: Message) -> Envelope:
    """Read the envelope of an incoming message, in binary or in structured mode.

    Raises
    ------
    UndecodableMessage
        It is no CloudEvents 1.0 message, or its attributes contradict that. The text says which
        attribute.
    """
    message = in_binary_mode(message)
    headers = message.headers
    get = headers.get
    found: dict[str, Any]
    if PREFIX + "id" in headers:
        found = {
            "specversion": get("cloudEvents_specversion"),
            "id": get("cloudEvents_id"),
            "source": get("cloudEvents_source"),
            "type": get("cloudEvents_type"),
            "time": get("cloudEvents_time"),
            "subject": get("cloudEvents_subject"),
            "correlationid": get("cloudEvents_correlationid"),
            "causationid": get("cloudEvents_causationid"),
            "partitionkey": get("cloudEvents_partitionkey"),
            "traceparent": get("cloudEvents_traceparent"),
            "dataschema": get("cloudEvents_dataschema"),
        }
        if not headers.keys() <= _USUAL_HEADERS:
            _check_extensions(_attributes_of(headers, (PREFIX,)))
    else:
        found = _attributes_of(headers)
        if "id" in found:
            _check_extensions(found)
        found = {name: value for name, value in found.items() if name in _READ}
    if not found.get("id"):
        raise UndecodableMessage(
            "no CloudEvents attributes in the headers: cloudEvents_id is missing or empty; the "
            "message comes from a foreign producer"
        )
    _check_texts(found)
    if found.get("specversion") != "1.0":
        raise UndecodableMessage(
            f"CloudEvents specversion {_shown(found.get('specversion'))} is not supported; 1.0 is"
        )
    for name in ("id", "source", "type"):
        if not found.get(name):
            raise UndecodableMessage(f"CloudEvents attribute {name!r} is missing or empty")
    for name in ("id", "source", "type", "correlationid"):
        value = found.get(name) or ""
        if len(value) * 4 > ID_MAX_BYTES and len(value.encode()) > ID_MAX_BYTES:
            raise UndecodableMessage(
                f"CloudEvents attribute {name!r} has more than {ID_MAX_BYTES} bytes"
            )
    _check_uris(found["source"], found.get("dataschema"))
    return Envelope(
        found["id"],
        found["source"],
        found["type"],
        _time(found.get("time")),
        found.get("subject"),
        found.get("correlationid"),
        found.get("causationid"),
        found.get("partitionkey"),
        found.get("traceparent"),
        found.get("dataschema"),
    )


def _check_texts(found: dict[str, Any]) -> None:
    """Refuse what is no text, or none that CloudEvents allows; write a native time as text."""
    values = [value for value in found.values() if value is not None]
    try:
        joined = "".join(values)
    except TypeError:
        joined = "\0"
    if not (joined.isascii() and joined.isprintable()):
        for name, value in found.items():
            if value is not None:
                found[name] = _text(name, value)
    if "" in values:
        for name in _NOT_EMPTY:
            if found.get(name) == "":
                raise UndecodableMessage(f"CloudEvents attribute {name!r} is empty")


def _text(name: str, value: object) -> str:
    if name == "time" and isinstance(value, datetime):
        return moment(value)
    if not isinstance(value, str):
        raise UndecodableMessage(f"CloudEvents attribute {_shown(name)} is not a string")
    if not is_string(value):
        raise UndecodableMessage(
            f"CloudEvents attribute {_shown(name)} contains a control character, a lone surrogate "
            f"or a noncharacter"
        )
    return value


def _check_extensions(found: Mapping[str, Any]) -> None:
    """Refuse names that no attribute has, and values of no type that one has (§3.1, §3.3)."""
    for name, value in found.items():
        if not is_name(name):
            raise UndecodableMessage(
                f"{_shown(name)} is no name of a CloudEvents attribute; those have lower-case "
                f"letters and digits, and are not 'data'"
            )
        if name not in KNOWN_ATTRIBUTES and value is not None and canonical(value) is None:
            raise UndecodableMessage(
                f"CloudEvents attribute {_shown(name)} has the value {_shown(value)}, which is no "
                f"string, boolean, 32-bit integer, binary or timestamp that CloudEvents allows"
            )


def _check_uris(source: str, dataschema: str | None) -> None:
    if not is_uri_reference(source):
        raise UndecodableMessage(
            f"CloudEvents attribute 'source' is no URI reference (RFC 3986): {_shown(source)}"
        )
    if dataschema is not None and not (
        len(dataschema) <= URI_MAX_LENGTH and is_absolute_uri(dataschema)
    ):
        raise UndecodableMessage(
            f"CloudEvents attribute 'dataschema' is no absolute URI (RFC 3986): "
            f"{_shown(dataschema)}"
        )


def _attributes_of(
    headers: Mapping[str, Any], prefixes: tuple[str, ...] = PREFIXES
) -> dict[str, Any]:
    found = {}
    for header, value in headers.items():
        for prefix in prefixes:
            if header.startswith(prefix):
                found[header[len(prefix) :]] = value
    return found


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_timestamp(text)
    except ValueError:
        raise UndecodableMessage(
            f"CloudEvents attribute 'time' is no RFC 3339 timestamp: {_shown(text)}"
        ) from None


def _shown(value: object) -> str:
    return repr(value)[:80]


def dump_data(data: dict[str, Any]) -> bytes:
    """Write an event's data as compact JSON in UTF-8."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def load_data(message: Message, max_bytes: int) -> Any:
    """Read the body of an incoming message, which must be one JSON value (RFC 8259).

    Stricter than the `json` module: NaN, infinite numbers and an object with the same key twice
    are refused, because two readers would not agree on what they mean.

    Raises
    ------
    UndecodableMessage
        The body is too large, compressed, of another content type, or not such JSON.
    """
    check_body(message, max_bytes)
    content_type = message.content_type
    if content_type != CONTENT_TYPE and not _is_json(content_type):
        raise UndecodableMessage(
            f"content-type {_shown(content_type)} is not read; application/json, application/avro "
            f"and application/protobuf are"
        )
    return load_json(message.body)


def load_json(body: bytes) -> Any:
    """One JSON value, strictly (see `load_data`): UndecodableMessage where it is none."""
    try:
        return _decoder.decode(body.decode())
    except UnicodeDecodeError:
        raise UndecodableMessage("the body is not UTF-8") from None
    except RecursionError:
        raise UndecodableMessage("the body is JSON nested too deeply") from None
    except ValueError as error:
        raise UndecodableMessage(f"the body is not JSON: {str(error)[:200]}") from None


def check_body(message: Message, max_bytes: int) -> None:
    """Refuse a body that is too large, or compressed: UndecodableMessage."""
    if len(message.body) > max_bytes:
        raise UndecodableMessage(
            f"the body has {len(message.body)} bytes; at most {max_bytes} are read"
        )
    if message.content_encoding not in (None, "", "utf-8", "UTF-8", "identity"):
        raise UndecodableMessage(
            f"content-encoding {_shown(message.content_encoding)} is not read; send plain UTF-8"
        )


def _is_json(content_type: str | None) -> bool:
    if content_type is None:
        return False
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    if "charset" in parameters.lower() and not re.search(r"(?i)\butf-?8\b", parameters):
        return False
    return media_type == CONTENT_TYPE or (
        media_type.startswith("application/")
        and media_type.endswith("+json")
        and media_type != "application/cloudevents+json"
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"number {text[:40]} is too large")
    return number


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


_decoder = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_unique_keys
)


def epoch_ms(moment: datetime) -> int:
    """Epoch milliseconds of an aware `moment`."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
