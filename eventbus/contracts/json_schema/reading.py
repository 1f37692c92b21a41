"""JSON text to a value, within bounds: what cannot be read the same way everywhere is refused."""

from __future__ import annotations

import json
import math
from typing import Any

from eventbus.contracts.limits import SCHEMA_MAX_BYTES, SCHEMA_MAX_DEPTH, SCHEMA_MAX_NODES
from eventbus.errors import InvalidSchema

#: Digits of an integer. No event counts further, and converting more takes quadratic time.
INTEGER_MAX_DIGITS = 1000


def read_schema(text: str) -> Any:
    """The JSON value in `text`: an object or a boolean.

    Numbers with a fraction or an exponent are IEEE 754 doubles, as RFC 8259 §6 advises; integers
    are exact.

    Raises
    ------
    InvalidSchema
        It is not JSON, has a name twice in one object, or exceeds the bounds.
    """
    if len(text) > SCHEMA_MAX_BYTES:
        raise InvalidSchema(f"the schema has more than {SCHEMA_MAX_BYTES:,} bytes")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise InvalidSchema(f"the schema is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, (dict, bool)):
        raise InvalidSchema(f"a JSON Schema is an object or a boolean, not {type(value).__name__}")
    # Most schemas have so few brackets and commas that they cannot exceed the bounds.
    brackets = text.count("{") + text.count("[")
    if brackets > SCHEMA_MAX_DEPTH or text.count(",") + brackets > SCHEMA_MAX_NODES // 2:
        _bounded(value)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in members if names.count(name) > 1)
        raise InvalidSchema(f"the schema has the name {twice[:80]!r} twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_MAX_DIGITS:
        raise InvalidSchema(f"the schema has an integer of more than {INTEGER_MAX_DIGITS} digits")
    return int(digits)


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidSchema(f"the number {text[:40]} is beyond an IEEE 754 double")
    return value


def _constant(name: str) -> Any:
    raise InvalidSchema(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_double,
    parse_constant=_constant,
)


def _bounded(value: Any) -> None:
    level, nodes, depth = [value], 1, 0
    while level:
        depth += 1
        if depth > SCHEMA_MAX_DEPTH:
            raise _too_deep()
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        nodes += len(inner)
        if nodes > SCHEMA_MAX_NODES:
            raise InvalidSchema(f"the schema has more than {SCHEMA_MAX_NODES:,} values")
        level = [one for one in inner if isinstance(one, (dict, list))]


def _too_deep() -> InvalidSchema:
    return InvalidSchema(f"the schema is nested more than {SCHEMA_MAX_DEPTH} levels deep")
