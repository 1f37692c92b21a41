"""Avro: contracts derived from events, read, and compared; events as Avro bodies."""

from eventbus.contracts.avro.codec import AvroCodec
from eventbus.contracts.avro.support import AvroSupport

SUPPORT = AvroSupport()
CODEC = AvroCodec()

__all__ = ["CODEC", "SUPPORT"]
