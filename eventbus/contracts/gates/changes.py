"""What was done to a contract, in the words of who did it: ``removing `total```."""

from __future__ import annotations

import json
import re
from typing import Any

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.schema import Format, Schema

#: A field of the message of an event, as `derive` writes it: two blanks, its type, name and number.
_PROTOBUF_FIELD = re.compile(r"^  (?:optional |repeated )?([^\s/]\S*(?: \S+>)?) (\w+) = \d+", re.M)
_LONGEST_NAME = 60


def change_between(old: Schema, new: Schema, difference: Difference | None = None) -> str:
    """The change from `old` to `new`, of the one field that `difference` is about if there is one.

    Of what cannot be told it says no more than that it is a change.
    """
    before, after = _fields(old), _fields(new)
    changes = [("removing", name) for name in before if name not in after]
    changes += [("adding", name) for name in after if name not in before]
    changes += [("changing", n) for n, said in after.items() if n in before and before[n] != said]
    if difference is not None:
        changes = [one for one in changes if _is_about(difference, one[1])] or changes[:1]
    if not changes:
        return "the change"
    doing, name = changes[0]
    others = f" and {len(changes) - 1} more" if len(changes) > 1 and difference is None else ""
    return f"{doing} `{name[:_LONGEST_NAME]}`{others}"


def _is_about(difference: Difference, field: str) -> bool:
    parts = re.split(r"[/.]", difference.path)
    word = rf"(?<!\w){re.escape(field)}(?!\w)"
    return field in parts or re.search(word, difference.message) is not None


def _fields(schema: Schema) -> dict[str, Any]:
    """Name to what is said of it, of the fields of the event itself."""
    if schema.format is Format.PROTOBUF:
        return {name: kind for kind, name in _PROTOBUF_FIELD.findall(schema.text)}
    try:
        value = json.loads(schema.text)
    except (ValueError, RecursionError):
        return {}
    found = value.get("properties", value.get("fields")) if isinstance(value, dict) else None
    if isinstance(found, list):
        return {str(one["name"]): one for one in found if isinstance(one, dict) and "name" in one}
    return dict(found) if isinstance(found, dict) else {}
