"""Protobuf: contracts derived from events, read, and compared; events as its messages.

`SUPPORT` is what `eventbus.contracts.formats` asks for, `CODEC` what
`eventbus.contracts.wire` does.
"""

from eventbus.contracts.protobuf.codec import ProtobufCodec
from eventbus.contracts.protobuf.support import ProtobufSupport

SUPPORT = ProtobufSupport()
CODEC = ProtobufCodec()

__all__ = ["CODEC", "SUPPORT"]
