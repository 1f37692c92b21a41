"""One text for all schemas that say the same.

The specification's own Parsing Canonical Form leaves out what it needs no longer to *parse*:
defaults, aliases, logical types. Here two schemas are the same where every reader does the same
with them, so these stay, and so do the attributes that the specification does not know.
"""

from __future__ import annotations

import json
from typing import Any

from eventbus.contracts.avro.types import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Named,
    Node,
    Primitive,
    Record,
    Union,
)
from eventbus.shape import NO_DEFAULT

#: What means the same as nothing, beside ``doc``: a sentence put better is no new contract.
_NOTHING: tuple[tuple[str, Any], ...] = (("order", "ascending"), ("scale", 0))


def canonical_text(root: Node) -> str:
    """The text, with full names, a fixed order of the attributes and no white space."""
    return json.dumps(_json(root, set()), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _json(node: Node, printed: set[str]) -> Any:
    if isinstance(node, Union):
        return [_json(branch, printed) for branch in node.branches]
    if isinstance(node, Named):
        if node.referred or node.name in printed:
            return node.name
        printed.add(node.name)
    found = {"type": node.kind, **_attributes(node.attributes), **_structure(node, printed)}
    return found["type"] if len(found) == 1 and isinstance(node, Primitive) else found


def _structure(node: Node, printed: set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(node, Named):
        found["name"] = node.name
        if node.aliases:
            found["aliases"] = sorted(node.aliases)
    if isinstance(node, Record):
        found["fields"] = [_field(field, printed) for field in node.fields]
    elif isinstance(node, Enum):
        found["symbols"] = list(node.symbols)
        if node.default is not None:
            found["default"] = node.default
    elif isinstance(node, Fixed):
        found["size"] = node.size
    elif isinstance(node, Array):
        found["items"] = _json(node.items, printed)
    elif isinstance(node, Map):
        found["values"] = _json(node.values, printed)
    return found


def _field(field: Field, printed: set[str]) -> dict[str, Any]:
    found = {"name": field.name, "type": _json(field.type, printed)}
    if field.default is not NO_DEFAULT:
        found["default"] = field.default
    if field.aliases:
        found["aliases"] = sorted(field.aliases)
    return {**_attributes(field.attributes), **found}


def _attributes(given: Any) -> dict[str, Any]:
    return {
        key: value
        for key, value in given.items()
        if key != "doc" and value is not None and (key, value) not in _NOTHING
    }
