"""Protobuf schemas as descriptors in base64, which the clients of some languages send and want."""

from __future__ import annotations

from dataclasses import replace

from eventbus.contracts.schema import Format, Schema


def with_text(schema: Schema) -> Schema:
    """The schema, as a ``.proto`` file where it was sent as a descriptor.

    Raises
    ------
    InvalidSchema
        It is a descriptor that no ``.proto`` file says all of.
    """
    if schema.format is not Format.PROTOBUF:
        return schema
    from eventbus.contracts.protobuf.printing import is_serialized, text_of

    if not is_serialized(schema.text):
        return schema
    return replace(schema, text=text_of(schema.text, schema.references))


def serialized(schema: Schema) -> Schema:
    """The schema, as a descriptor where it is Protobuf."""
    if schema.format is not Format.PROTOBUF:
        return schema
    from eventbus.contracts.protobuf.printing import serialized_of

    return replace(schema, text=serialized_of(schema))
