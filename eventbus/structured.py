"""CloudEvents structured mode: attributes and data together in one JSON document.

AMQP protocol binding 1.0.2 §3.2 with the JSON event format 1.0.2: the AMQP property
``content-type`` is ``application/cloudevents+json``. Everything else in eventbus knows messages in
binary mode only, so what comes is turned into one (`unpacked`), and what goes is made of one
(`packed`).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from eventbus.envelope import (
    CONTENT_TYPE,
    PREFIX,
    PREFIXES,
    STRUCTURED_CONTENT_TYPE,
    check_body,
    dump_data,
    load_json,
)
from eventbus.errors import UndecodableMessage
from eventbus.message import Message

_BATCH = "application/cloudevents-batch"
_DATA, _DATA_BASE64, _CONTENT_TYPE = "data", "data_base64", "datacontenttype"


def structured_max_bytes(max_bytes: int) -> int:
    """How long the document of an event may be whose data have at most `max_bytes`.

    Base64 makes four bytes of three; the attributes have room beside it.
    """
    return max_bytes * 4 // 3 + 64 * 1024


# -- out -----------------------------------------------------------------------------------------


def packed(message: Message) -> Message:
    """A message of ours in binary mode as one in structured mode, without headers."""
    document = {
        name[len(PREFIX) :]: value
        for name, value in message.headers.items()
        if name.startswith(PREFIX)
    }
    document[_CONTENT_TYPE] = message.content_type
    if message.content_type == CONTENT_TYPE:
        # As it is: its JSON is neither read nor written a second time.
        member, value = _DATA, message.body
    else:
        member, value = _DATA_BASE64, b'"' + base64.b64encode(message.body) + b'"'
    body = b'%s,"%s":%s}' % (dump_data(document)[:-1], member.encode(), value)
    return replace(message, body=body, headers={}, content_type=STRUCTURED_CONTENT_TYPE)


# -- in ------------------------------------------------------------------------------------------


def unpacked(message: Message, max_bytes: int) -> Message:
    """A message in structured mode as the one in binary mode that says the same.

    Headers that are no attributes are kept; attributes are those of the document alone.

    Parameters
    ----------
    max_bytes:
        Of the data; the document may be longer.

    Raises
    ------
    UndecodableMessage
        It is a batch, of another event format, or no such document. The text says which.
    """
    _check_format(message.content_type or "")
    check_body(message, structured_max_bytes(max_bytes))
    document = load_json(message.body)
    if not isinstance(document, dict):
        raise UndecodableMessage(
            f"the body is no CloudEvent in JSON: an object is expected, not "
            f"{'a list; a batch is not read' if isinstance(document, list) else 'a single value'}"
        )
    body, content_type = _data(document)
    headers = {
        name: value for name, value in message.headers.items() if not name.startswith(PREFIXES)
    }
    for name, value in document.items():
        # JSON format §2.2: null means that the attribute is not set.
        if value is not None and name not in (_DATA, _DATA_BASE64, _CONTENT_TYPE):
            headers[PREFIX + name] = value
    return replace(message, body=body, headers=headers, content_type=content_type)


def _check_format(content_type: str) -> None:
    media_type, _, parameters = content_type.lower().partition(";")
    media_type = media_type.strip()
    if media_type.startswith(_BATCH):
        raise UndecodableMessage(
            f"content-type {content_type[:80]!r}: a batch of CloudEvents is not read; send each "
            f"event as a message of its own"
        )
    if media_type != STRUCTURED_CONTENT_TYPE:
        raise UndecodableMessage(
            f"content-type {content_type[:80]!r}: this format of CloudEvents is not read; "
            f"{STRUCTURED_CONTENT_TYPE} is"
        )
    charset = parameters.partition("charset=")[2].strip(' "')
    if charset and charset.partition(";")[0].strip(' "') not in ("utf-8", "utf8", "us-ascii"):
        raise UndecodableMessage(f"content-type {content_type[:80]!r} is not read; send UTF-8")


def _data(document: Mapping[str, Any]) -> tuple[bytes, str]:
    """The data as bytes and their content type (JSON format §3.1.2)."""
    content_type = document.get(_CONTENT_TYPE)
    if content_type is None:
        content_type = CONTENT_TYPE
    elif not isinstance(content_type, str) or not content_type:
        raise UndecodableMessage("CloudEvents attribute 'datacontenttype' is not a string")
    if _DATA_BASE64 in document and document[_DATA_BASE64] is not None:
        if _DATA in document:
            raise UndecodableMessage("the CloudEvent has both data and data_base64")
        return _decoded(document[_DATA_BASE64]), content_type
    if _DATA not in document:
        return b"", content_type
    data = document[_DATA]
    if _declares_json(content_type):
        return _dumped(data), CONTENT_TYPE
    if not isinstance(data, str):
        raise UndecodableMessage(
            f"the CloudEvent's data are no string, though datacontenttype {content_type[:80]!r} is "
            f"no JSON"
        )
    return data.encode("utf-8", "surrogatepass"), content_type


def _declares_json(content_type: str) -> bool:
    subtype = content_type.partition(";")[0].strip().lower().rpartition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def _dumped(data: Any) -> bytes:
    try:
        return dump_data(data)
    except UnicodeEncodeError:
        # As escapes a lone surrogate reaches the field that refuses it by name.
        return json.dumps(data, allow_nan=False, separators=(",", ":")).encode()


def _decoded(text: Any) -> bytes:
    try:
        if not isinstance(text, str):
            raise TypeError
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (TypeError, UnicodeEncodeError, binascii.Error):
        raise UndecodableMessage(
            "the CloudEvent's data_base64 is no Base64 (RFC 4648 §4)"
        ) from None
