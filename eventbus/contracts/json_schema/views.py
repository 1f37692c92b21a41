"""The reader's contract, as a function of the writer's.

One document is registered for an event: what its class writes, closed, with every field required.
The class reads more than that: unknown fields are ignored, a missing one takes its default, and an
earlier name is accepted. A document that `derive` has written is marked, and only of such a one a
reader's view is made: a schema of others means what it says.
"""

from __future__ import annotations

from typing import Any

#: Where that stands which JSON Schema has no keyword for.
MARK = "x-eventbus"
WRITER = "writer"
READER = "reader"

_NOT_OF_ALIAS = (MARK, "default")


def is_writers(schema: Any) -> bool:
    """Whether `schema` is a writer's contract that was derived from an event class."""
    mark = schema.get(MARK) if isinstance(schema, dict) else None
    return isinstance(mark, dict) and mark.get("contract") == WRITER


def reader_view(schema: Any) -> Any:
    """What the class reads whose writer's contract `schema` is; any other schema as it is.

    Parameters
    ----------
    schema:
        A JSON Schema as a JSON value. It is not changed.
    """
    if not is_writers(schema):
        return schema
    return {**_read(schema), MARK: {**schema[MARK], "contract": READER}}


def _read(schema: Any) -> Any:
    """The view of a schema in the document, which `derive` writes in these few forms."""
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("properties"), dict) and isinstance(schema.get("required"), list):
        return _object(schema)
    view = dict(schema)
    for keyword in ("items", "additionalProperties"):
        if keyword in view:
            view[keyword] = _read(view[keyword])
    return view


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    view = {key: value for key, value in schema.items() if key != "additionalProperties"}
    properties = {name: _read(one) for name, one in schema["properties"].items()}
    aliases = {name: _aliases(one) for name, one in properties.items()}
    needed = [name for name in schema["required"] if not _has_default(properties, name)]
    view["properties"] = {**_by_alias(properties, aliases), **properties}
    view["required"] = [name for name in needed if not _is_renamed(aliases, name)]
    either = [
        {"anyOf": [{"required": [spelling]} for spelling in (name, *aliases[name])]}
        for name in needed
        if _is_renamed(aliases, name)
    ]
    if either:
        others = schema.get("allOf")
        view["allOf"] = [*(others if isinstance(others, list) else []), *either]
    return view


def _by_alias(properties: dict[str, Any], aliases: dict[str, list[str]]) -> dict[str, Any]:
    """The properties under their earlier names."""
    return {
        alias: {key: properties[name][key] for key in properties[name] if key not in _NOT_OF_ALIAS}
        for name, spellings in aliases.items()
        for alias in spellings
    }


def _is_renamed(aliases: dict[str, list[str]], name: Any) -> bool:
    return isinstance(name, str) and bool(aliases.get(name))


def _has_default(properties: dict[str, Any], name: Any) -> bool:
    schema = properties.get(name) if isinstance(name, str) else None
    return isinstance(schema, dict) and "default" in schema


def _aliases(schema: Any) -> list[str]:
    mark = schema.get(MARK) if isinstance(schema, dict) else None
    found = mark.get("aliases") if isinstance(mark, dict) else None
    return [alias for alias in found if isinstance(alias, str)] if isinstance(found, list) else []
