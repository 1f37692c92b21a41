"""Avro: contracts derived from events, read, and compared."""
