"""Protobuf: contracts derived from events, read, and compared; events as its messages.

`SUPPORT` is what `eventbus.contracts.formats` asks for, `CODEC` what
`eventbus.contracts.wire` does.
"""

from eventbus.contracts.protobuf.support import ProtobufSupport

SUPPORT = ProtobufSupport()

__all__ = ["SUPPORT"]
