"""Schemas of these tests: small, and compatible or not in ways that anybody sees."""

from __future__ import annotations

import json
from typing import Any

from eventbus.contracts import Schema
from eventbus.contracts.registry.port import Reader


def json_schema(*required: str, **more: Any) -> Schema:
    """An object with these properties, all texts, all required, and no others."""
    properties = {name: {"type": "string"} for name in required}
    value = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }
    return Schema.of(value, "json")


def body(schema: Schema, **more: Any) -> dict[str, Any]:
    """The schema as a request has it."""
    return {"schemaType": schema.format.schema_type, "schema": schema.text, **more}


def avro_text(*fields: str, name: str = "OrderPaid") -> str:
    """A record with these fields, all texts."""
    listed = [{"name": field, "type": "string"} for field in fields]
    return json.dumps({"type": "record", "name": name, "namespace": "shop", "fields": listed})


def reader(schema: Schema, *, release: str = "1.4", seen_at_ms: int = 1_000) -> Reader:
    """What ``charge`` of ``shop`` reads of order.paid."""
    return Reader("order.paid", "shop", release, "shop.billing", "charge", schema, seen_at_ms)
