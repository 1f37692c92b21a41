"""What each keyword means, as formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eventbus.contracts.json_schema.dialects import DRAFT_2020_12
from eventbus.contracts.json_schema.formulas import (
    ALL_TYPES,
    FALSE,
    TRUE,
    Formula,
    JsonType,
    KeySet,
    Values,
    all_of,
    any_of,
    atom,
    exactly_one_of,
    number,
    uncertain,
)
from eventbus.contracts.json_schema.unevaluated import unevaluated_items, unevaluated_members

if TYPE_CHECKING:
    from eventbus.contracts.json_schema.compiling import Compiler, Scope
    from eventbus.contracts.json_schema.documents import Location

Steps = tuple[str | int, ...]
Built = Iterator[tuple[Steps, Formula]]
Builder = Callable[["Compiler", "Location", "Scope", Any], Built]

_TYPES = {
    "null": JsonType.NULL,
    "boolean": JsonType.BOOLEAN,
    "number": JsonType.NUMBER,
    "integer": JsonType.NUMBER,
    "string": JsonType.STRING,
    "array": JsonType.ARRAY,
    "object": JsonType.OBJECT,
}
INTEGER = atom("multipleOf", JsonType.NUMBER, 1)


def of_types(types: frozenset[JsonType]) -> Formula:
    """Holds for values of these types."""
    return TRUE if types == ALL_TYPES else atom("type", None, types)


def one_of_values(values: list[Any]) -> Formula:
    """Holds for these values alone."""
    return atom("enum", None, Values(values)) if values else FALSE


def members(keys: KeySet, values: Formula) -> Formula:
    """Every member whose name is one of `keys` has a value for which `values` holds."""
    return TRUE if values is TRUE else atom("members", JsonType.OBJECT, keys, values)


@lru_cache(maxsize=10_000)
def named(name: str) -> KeySet:
    """The one name."""
    return KeySet(frozenset((name,)))


@lru_cache(maxsize=10_000)
def required(name: str) -> Formula:
    """An object has a member of this name."""
    return atom("required", JsonType.OBJECT, name)


def absent(name: str) -> Formula:
    """An object has no member of this name."""
    return members(named(name), FALSE)


def items(start: int, each: Formula) -> Formula:
    """Every item from index `start` on is one for which `each` holds."""
    return TRUE if each is TRUE else atom("items", JsonType.ARRAY, start, each)


def _type(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    names = [value] if isinstance(value, str) else value
    formula = of_types(frozenset(_TYPES[name] for name in names))
    if "integer" in names and "number" not in names:
        formula = all_of((formula, INTEGER))
    yield ("type",), formula


def _enum(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    yield ("enum",), one_of_values(value)


def _const(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    yield ("const",), one_of_values([value])


def _bound(keyword: str, atom_keyword: str, exclusive: bool) -> Builder:
    def build(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
        yield (keyword,), atom(atom_keyword, JsonType.NUMBER, number(value), exclusive)

    return build


def _multiple_of(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    yield ("multipleOf",), atom("multipleOf", JsonType.NUMBER, number(value))


def _count(keyword: str, type: JsonType) -> Builder:
    def build(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
        if value or keyword.startswith("max"):
            yield (keyword,), atom(keyword, type, int(value))

    return build


def _pattern(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    yield ("pattern",), atom("pattern", JsonType.STRING, value)


def _unique_items(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    if value:
        yield ("uniqueItems",), atom("uniqueItems", JsonType.ARRAY)


def _prefix(keyword: str) -> Builder:
    def build(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
        for index in range(len(value)):
            inner = compiler.child(location, scope, keyword, index)
            if inner is not TRUE:
                yield (keyword, index), atom("item", JsonType.ARRAY, index, inner)

    return build


def _items(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    if isinstance(value, list):
        yield from _prefix("items")(compiler, location, scope, value)
        return
    start = 0
    if location.dialect is DRAFT_2020_12:
        start = len(location.value.get("prefixItems", ()))
    yield ("items",), items(start, compiler.child(location, scope, "items"))


def _additional_items(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    first = location.value.get("items")
    if isinstance(first, list):
        yield (
            ("additionalItems",),
            items(len(first), compiler.child(location, scope, "additionalItems")),
        )


def _contains(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    inner = compiler.child(location, scope, "contains")
    least, most = 1, None
    if "minContains" in location.dialect.keywords:
        least = int(location.value.get("minContains", 1))
        most = location.value.get("maxContains")
    if least:
        keyword = "minContains" if least > 1 else "contains"
        yield (keyword,), atom("contains", JsonType.ARRAY, inner, least)
    if most is not None:
        more = atom("contains", JsonType.ARRAY, inner, int(most) + 1)
        yield ("maxContains",), any_of((of_types(ALL_TYPES - {JsonType.ARRAY}), more.complement))


def _required(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    for name in dict.fromkeys(value):
        yield ("required",), required(name)


def _properties(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    for name in value:
        inner = compiler.child(location, scope, "properties", name)
        yield ("properties", name), members(named(name), inner)


def _pattern_properties(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    for pattern in value:
        inner = compiler.child(location, scope, "patternProperties", pattern)
        yield (
            ("patternProperties", pattern),
            members(KeySet(frozenset(), frozenset((pattern,))), inner),
        )


def _additional_properties(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    schema = location.value
    others = KeySet(
        frozenset(schema.get("properties", ())),
        frozenset(schema.get("patternProperties", ())),
        inverted=True,
    )
    yield (
        ("additionalProperties",),
        members(others, compiler.child(location, scope, "additionalProperties")),
    )


def _property_names(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    inner = compiler.child(location, scope, "propertyNames")
    if inner is not TRUE:
        yield ("propertyNames",), atom("names", JsonType.OBJECT, inner)


def _all_of(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    for index in range(len(value)):
        yield ("allOf", index), compiler.child(location, scope, "allOf", index)


def _any_of(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    branches = [compiler.child(location, scope, "anyOf", i) for i in range(len(value))]
    yield ("anyOf",), any_of(branches)


def _one_of(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    branches = [compiler.child(location, scope, "oneOf", i) for i in range(len(value))]
    yield ("oneOf",), exactly_one_of(branches)


def _not(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    yield ("not",), compiler.child(location, scope, "not").complement


def _if(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    condition = compiler.child(location, scope, "if")
    if "then" in location.value:
        yield ("then",), any_of((condition.complement, compiler.child(location, scope, "then")))
    if "else" in location.value:
        yield ("else",), any_of((condition, compiler.child(location, scope, "else")))


def _dependent_required(_: Compiler, __: Location, ___: Scope, value: Any) -> Built:
    for name, others in value.items():
        yield ("dependentRequired", name), _needs(name, others)


def _needs(name: str, others: list[str]) -> Formula:
    return any_of((absent(name), all_of(required(other) for other in others)))


def _dependent_schemas(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    for name in value:
        inner = compiler.child(location, scope, "dependentSchemas", name)
        yield ("dependentSchemas", name), any_of((absent(name), inner))


def _dependencies(compiler: Compiler, location: Location, scope: Scope, value: Any) -> Built:
    for name, needed in value.items():
        if isinstance(needed, list):
            formula = _needs(name, needed)
        else:
            inner = compiler.child(location, scope, "dependencies", name)
            formula = any_of((absent(name), inner))
        # Since 2019-09 it is no keyword any more, but validators may go on checking it.
        old = location.dialect.reference_stands_alone
        yield ("dependencies", name), formula if old else uncertain(formula)


def _unevaluated_items(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    yield ("unevaluatedItems",), unevaluated_items(compiler, location, scope)


def _unevaluated_properties(compiler: Compiler, location: Location, scope: Scope, _: Any) -> Built:
    yield ("unevaluatedProperties",), unevaluated_members(compiler, location, scope)


#: Keyword to what builds its formulas; ``then``, ``minContains`` and the like go with another.
BUILDERS: dict[str, Builder] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _bound("minimum", "minimum", False),
    "exclusiveMinimum": _bound("exclusiveMinimum", "minimum", True),
    "maximum": _bound("maximum", "maximum", False),
    "exclusiveMaximum": _bound("exclusiveMaximum", "maximum", True),
    "multipleOf": _multiple_of,
    "minLength": _count("minLength", JsonType.STRING),
    "maxLength": _count("maxLength", JsonType.STRING),
    "pattern": _pattern,
    "minItems": _count("minItems", JsonType.ARRAY),
    "maxItems": _count("maxItems", JsonType.ARRAY),
    "uniqueItems": _unique_items,
    "prefixItems": _prefix("prefixItems"),
    "items": _items,
    "additionalItems": _additional_items,
    "contains": _contains,
    "minProperties": _count("minProperties", JsonType.OBJECT),
    "maxProperties": _count("maxProperties", JsonType.OBJECT),
    "required": _required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentRequired": _dependent_required,
    "dependentSchemas": _dependent_schemas,
    "dependencies": _dependencies,
    "unevaluatedItems": _unevaluated_items,
    "unevaluatedProperties": _unevaluated_properties,
}
