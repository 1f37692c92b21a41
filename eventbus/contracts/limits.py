"""Bounds of a schema that is read from elsewhere: beyond them it is refused, in little time."""

#: Bytes of one schema. Confluent's registry takes about as much.
SCHEMA_MAX_BYTES = 1024 * 1024
#: Levels of nesting; Python's own parsers recurse, and no person reads deeper.
SCHEMA_MAX_DEPTH = 64
#: Objects, arrays and values in one schema, or fields of a Protobuf file.
SCHEMA_MAX_NODES = 100_000
#: Values of one enumeration.
ENUM_MAX_VALUES = 10_000
#: Steps of one comparison before it is given up as undecidable, which counts as incompatible.
COMPARISON_MAX_STEPS = 200_000
