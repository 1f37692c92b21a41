"""Which format a content type means. What is not listed is not read, however it looks."""

from __future__ import annotations

from functools import lru_cache

from eventbus.contracts.schema import Format

#: What eventbus writes; CloudEvents ``datacontenttype`` and the AMQP property ``content-type``.
CONTENT_TYPES = {
    Format.JSON: "application/json",
    Format.AVRO: "application/avro",
    Format.PROTOBUF: "application/protobuf",
}

#: What other producers write for the same bytes.
_FORMATS = {
    "application/avro": Format.AVRO,
    "application/vnd.apache.avro": Format.AVRO,
    "avro/binary": Format.AVRO,
    "application/protobuf": Format.PROTOBUF,
    "application/x-protobuf": Format.PROTOBUF,
    "application/vnd.google.protobuf": Format.PROTOBUF,
}


@lru_cache(maxsize=256)
def binary_format(content_type: str) -> Format | None:
    """Avro or Protobuf, where `content_type` (RFC 9110 §8.3.1) is one of theirs."""
    return _FORMATS.get(content_type.partition(";")[0].strip().lower())
