"""The kinds of differences, and the sentences that name the values."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from eventbus.contracts.json_schema.compiling import Assertion
from eventbus.contracts.json_schema.counts import counts
from eventbus.contracts.json_schema.documents import Location
from eventbus.contracts.json_schema.formulas import FALSE, Atom, Formula, JsonType
from eventbus.contracts.json_schema.keywords import INTEGER
from eventbus.contracts.json_schema.objects import Key
from eventbus.contracts.json_schema.satisfying import Branch, Search

#: That it may or may not be a difference: it counts as one.
UNDECIDED = "UNDECIDED"
#: Characters of a value in a message.
MAX_SHOWN = 80


class Said(NamedTuple):
    """A kind and a sentence; with `example` a value that would be refused may be added."""

    kind: str
    message: str
    example: bool = False


class _Given(NamedTuple):
    """What a sentence is made from: the reader's keyword, and what the writer's values satisfy."""

    search: Search
    context: tuple[Formula, ...]
    location: Location
    assertion: Assertion
    key: Key | None

    @property
    def value(self) -> Any:
        """The keyword's value in the reader."""
        return self.location.value[self.assertion.keyword]

    def atoms(self, type: JsonType) -> list[Atom]:
        """What the writer says of all its values of a type."""
        branch = Branch(type)
        return branch.atoms if branch.add(self.context) else []


def said(
    search: Search,
    context: tuple[Formula, ...],
    location: Location,
    assertion: Assertion,
    key: Key | None = None,
) -> Said:
    """What to say of a keyword that refuses something that the writer may write."""
    given = _Given(search, context, location, assertion, key)
    return _WORDINGS.get(assertion.keyword, _other)(given)


def shown(value: Any) -> str:
    """The value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


_TYPE_NAMES = {
    JsonType.NULL: "null",
    JsonType.BOOLEAN: "boolean",
    JsonType.NUMBER: "number",
    JsonType.STRING: "string",
    JsonType.ARRAY: "array",
    JsonType.OBJECT: "object",
}


def _type(given: _Given) -> Said:
    types = given.search.types(*given.context)
    names = [_TYPE_NAMES[type] for type in types]
    whole = given.search.satisfy(*given.context, INTEGER.complement) is None
    if JsonType.NUMBER in types and whole:
        names[types.index(JsonType.NUMBER)] = "integer"
    wanted = given.value if isinstance(given.value, list) else [given.value]
    accepted = given.search.satisfy(*given.context, given.assertion.formula)
    kind = "TYPE_CHANGED" if accepted is None else "TYPE_NARROWED"
    return Said(kind, f"the reader takes {_listed(wanted)}, the writer may write {_listed(names)}")


def _listed(names: list[str]) -> str:
    if len(names) == len(_TYPE_NAMES):
        return "a value of any type"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _enum(given: _Given) -> Said:
    written = (
        [
            value
            for type in JsonType
            for atom in given.atoms(type)
            if atom.keyword == "enum" and atom.positive
            for value in atom.arguments[0].by_type.get(type, ())
            if value not in given.assertion.formula.arguments[0]
        ]
        if isinstance(given.assertion.formula, Atom)
        else []
    )
    if written:
        values = ", ".join(shown(value) for value in written[:5])
        more = f" and {len(written) - 5} more" if len(written) > 5 else ""
        return Said("ENUM_VALUES_REMOVED", f"the reader does not take {values}{more}")
    return Said("ENUM_ADDED", f"the reader takes {shown(given.value)} alone", True)


def _const(given: _Given) -> Said:
    accepted = given.search.satisfy(*given.context, given.assertion.formula)
    kind = "CONST_CHANGED" if accepted is None else "CONST_ADDED"
    return Said(kind, f"the reader takes {shown(given.value)} alone", True)


def _limit(
    type: JsonType, keywords: tuple[str, str], least: bool, kind: str, unit: str
) -> Callable[[_Given], Said]:
    def say(given: _Given) -> Said:
        found = counts(given.atoms(type), *keywords)
        written = found.least if least else found.most
        word = "least" if least else "most"
        value = given.value
        if not written:
            what = f"the reader takes at {word} {value} {unit}, the writer has no such limit"
            return Said(f"{kind}_ADDED", what)
        change = "INCREASED" if least else "DECREASED"
        return Said(
            f"{kind}_{change}",
            f"the reader takes at {word} {value} {unit}, the writer writes at {word} {written}",
        )

    return say


def _bound(kind: str, least: bool) -> Callable[[_Given], Said]:
    def say(given: _Given) -> Said:
        keyword = "minimum" if least else "maximum"
        written = [
            atom.arguments
            for atom in given.atoms(JsonType.NUMBER)
            if atom.positive and atom.keyword == keyword
        ]
        what = f"the reader takes numbers {_range(least, 'EXCLUSIVE' in kind)} {shown(given.value)}"
        if not written:
            return Said(f"{kind}_ADDED", f"{what}, the writer has no such limit", True)
        value, exclusive = max(written) if least else min(written)
        change = "INCREASED" if least else "DECREASED"
        wider = f"the writer writes numbers {_range(least, exclusive)} {shown(value)}"
        return Said(f"{kind}_{change}", f"{what}, {wider}", True)

    return say


def _range(least: bool, exclusive: bool) -> str:
    if exclusive:
        return "above" if least else "below"
    return "from" if least else "up to"


def _multiple_of(given: _Given) -> Said:
    written = [
        atom.arguments[0]
        for atom in given.atoms(JsonType.NUMBER)
        if atom.positive and atom.keyword == "multipleOf"
    ]
    kind = "MULTIPLE_OF_CHANGED" if written else "MULTIPLE_OF_ADDED"
    what = f"the reader takes multiples of {shown(given.value)}"
    if not written:
        return Said(kind, f"{what}, the writer any number", True)
    return Said(kind, f"{what}, the writer writes multiples of {shown(written[0])}", True)


def _pattern(given: _Given) -> Said:
    written = [
        atom.arguments[0]
        for atom in given.atoms(JsonType.STRING)
        if atom.positive and atom.keyword == "pattern"
    ]
    what = f"the reader takes texts that match {shown(given.value)}"
    if not written:
        return Said("PATTERN_ADDED", f"{what}, the writer any text", True)
    return Said("PATTERN_CHANGED", f"{what}, the writer's match {shown(written[0])}", True)


def _required(given: _Given) -> Said:
    formula = given.assertion.formula
    name = formula.arguments[0] if isinstance(formula, Atom) else ""
    return Said(
        "REQUIRED_PROPERTY_ADDED",
        f"the reader needs the property {shown(name)}, which the writer may leave out",
    )


def _properties(given: _Given) -> Said:
    name = given.assertion.steps[-1]
    if given.location.children[given.assertion.steps].value is False:
        return Said("PROPERTY_FORBIDDEN", f"the reader does not take the property {shown(name)}")
    return Said("PROPERTY_NARROWED", f"the reader takes less in the property {shown(name)}", True)


def _additional_properties(given: _Given) -> Said:
    name = None if given.key is None else given.key.name
    if given.location.value[given.assertion.keyword] is not False:
        return Said(
            "ADDITIONAL_PROPERTIES_NARROWED", "the reader takes less in other properties", True
        )
    if name is None:
        return Said(
            "ADDITIONAL_PROPERTIES_REMOVED",
            "the reader takes no other properties, which the writer may add",
            True,
        )
    return Said(
        "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
        f"the reader takes no other properties, and the writer may write {shown(name)}",
    )


def _items(given: _Given) -> Said:
    if given.value is False:
        return Said(
            "ITEM_REMOVED_FROM_CLOSED_CONTENT_MODEL", "the reader takes no more items", True
        )
    return Said("ITEMS_NARROWED", "the reader takes less in the items of the array", True)


def _dependency(given: _Given) -> Said:
    name = given.assertion.steps[-1]
    return Said(
        "DEPENDENCY_ADDED", f"the reader demands more where the property {shown(name)} is", True
    )


def _always(kind: str, message: str) -> Callable[[_Given], Said]:
    return lambda given: Said(kind, message, True)


def _other(given: _Given) -> Said:
    if given.assertion.formula is FALSE:
        return Said("NOTHING_ACCEPTED", "the reader takes nothing here", True)
    keyword = given.assertion.keyword
    kind = "".join(f"_{c}" if c.isupper() else c.upper() for c in keyword.strip("$")).upper()
    return Said(f"{kind}_CHANGED", f"the reader's {keyword} takes less", True)


_STRING = (JsonType.STRING, ("minLength", "maxLength"))
_ARRAY = (JsonType.ARRAY, ("minItems", "maxItems"))
_OBJECT = (JsonType.OBJECT, ("minProperties", "maxProperties"))

_WORDINGS: dict[str, Callable[[_Given], Said]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minLength": _limit(*_STRING, True, "MIN_LENGTH", "characters"),
    "maxLength": _limit(*_STRING, False, "MAX_LENGTH", "characters"),
    "minItems": _limit(*_ARRAY, True, "MIN_ITEMS", "items"),
    "maxItems": _limit(*_ARRAY, False, "MAX_ITEMS", "items"),
    "minProperties": _limit(*_OBJECT, True, "MIN_PROPERTIES", "properties"),
    "maxProperties": _limit(*_OBJECT, False, "MAX_PROPERTIES", "properties"),
    "minimum": _bound("MINIMUM", True),
    "maximum": _bound("MAXIMUM", False),
    "exclusiveMinimum": _bound("EXCLUSIVE_MINIMUM", True),
    "exclusiveMaximum": _bound("EXCLUSIVE_MAXIMUM", False),
    "multipleOf": _multiple_of,
    "pattern": _pattern,
    "uniqueItems": _always("UNIQUE_ITEMS_ADDED", "the reader takes no array with equal items"),
    "required": _required,
    "properties": _properties,
    "patternProperties": _always(
        "PATTERN_PROPERTY_NARROWED", "the reader takes less in properties with such names"
    ),
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _additional_properties,
    "propertyNames": _always(
        "PROPERTY_NAMES_NARROWED", "the reader takes fewer names of properties"
    ),
    "items": _items,
    "prefixItems": _always("ITEM_NARROWED", "the reader takes less in this item"),
    "additionalItems": _items,
    "unevaluatedItems": _items,
    "contains": _always("CONTAINS_ADDED", "the reader wants an item that the writer may leave out"),
    "minContains": _always("MIN_CONTAINS_INCREASED", "the reader wants more such items"),
    "maxContains": _always("MAX_CONTAINS_DECREASED", "the reader takes fewer such items"),
    "dependentRequired": _dependency,
    "dependentSchemas": _dependency,
    "dependencies": _dependency,
    "anyOf": _always("ANY_OF_NARROWED", "no branch of the reader takes all that may be written"),
    "oneOf": _always("ONE_OF_NARROWED", "not exactly one branch of the reader takes it"),
    "not": _always("NOT_EXTENDED", "the reader excludes what the writer may write"),
}
