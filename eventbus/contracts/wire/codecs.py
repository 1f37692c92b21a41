"""The codecs of the binary formats, and their frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from eventbus.contracts.schema import Format
from eventbus.contracts.wire.frame import (
    FIRST_MESSAGE,
    frame,
    frame_protobuf,
    unframe,
    unframe_protobuf,
)
from eventbus.contracts.wire.port import Codec


def codec_of(format: Format) -> Codec:
    """What turns events into the bytes of `format`, Avro or Protobuf, and back.

    Raises
    ------
    MissingDependency
        Its package is not installed; the text names the extra.
    """
    codec: Codec = import_module(f"eventbus.contracts.{format.value}").CODEC
    return codec


def framer(format: Format, schema_id: int) -> Callable[[bytes], bytes]:
    """What puts the frame of a schema around the bytes of `format`."""
    return partial(frame_protobuf if format is Format.PROTOBUF else frame, schema_id)


def unframed(format: Format, body: bytes) -> tuple[int, tuple[int, ...], bytes]:
    """The schema's id, the indexes of the message type, and the payload of `format`.

    Raises
    ------
    UndecodableMessage
        The body is in no frame.
    """
    if format is Format.PROTOBUF:
        return unframe_protobuf(body)
    schema_id, payload = unframe(body)
    return schema_id, FIRST_MESSAGE, payload
