"""Protobuf: contracts derived from events, read, and compared."""
