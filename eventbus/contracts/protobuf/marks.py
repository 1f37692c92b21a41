"""What Protobuf has no words for, said by reserved names.

A contract that is derived from an event class reserves the name ``x_eventbus`` in each of its
messages. There a field without ``optional`` is one that every writer sets and every reader needs.
What else holds for a field stands in one more name: ``x_``, the field, and its facets, joined by
two underscores: ``x_order_id__uuid``, ``x_currency__default__max_3``.

Reserved names are part of the schema, unlike comments; they need no import, unlike options; and
they mean nothing to other tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation

from eventbus.contracts.protobuf.model import MARK, Facets

#: Joins the field and its facets; no field of an event may have it in its name.
JOINT = "__"

_START = "x_"

#: A reader can do without the field.
DEFAULT = "default"
#: Earlier names of the field, which a reader takes for it.
WAS = "was"
#: What a text must be.
KINDS = ("uuid", "date", "decimal")
#: Before a facet that holds for each value of a list or map.
EACH = "each"


def is_mark(name: str) -> bool:
    """Whether a reserved name tells something, instead of a name that is used no more."""
    return name == MARK or (name.startswith(_START) and JOINT in name)


def read_marks(reserved_names: Iterable[str]) -> dict[str, Facets]:
    """What is said of fields, by their names."""
    found: dict[str, Facets] = {}
    for name in reserved_names:
        if name != MARK and is_mark(name):
            field, *parts = name[len(_START) :].split(JOINT)
            found[field] = _facets(parts)
    return found


def _facets(parts: list[str]) -> Facets:
    found: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("_")
        found[key] = f"{found[key]} {value}" if key in found else value
    return found


def mark_of(field: str, facets: Facets) -> str:
    """The name to reserve, so that `read_marks` finds these; each word of a value is one."""
    parts = [
        f"{key}_{word}" if word else key
        for key, value in facets.items()
        for word in value.split(" ")
    ]
    return _START + JOINT.join([field, *parts])


def number_text(number: int | float | Decimal) -> str:
    """A bound as part of a name."""
    return str(number).lower().replace("-", "n").replace(".", "p").replace("+", "")


def _number(text: str) -> Decimal | None:
    try:
        return Decimal(text.replace("n", "-").replace("p", "."))
    except InvalidOperation:
        return None


def stricter(reader: Facets, writer: Facets) -> Iterator[str]:
    """In what a reader asks more of a field than a writer keeps; each as the end of a sentence."""
    for each in ("", EACH):
        yield from _other_kind(reader, writer, each)
        yield from _tighter_bounds(reader, writer, each)
        yield from _fewer_digits(reader, writer, each)
        for key, meant in (("pattern", "another pattern"), ("choices", "another set of values")):
            if each + key in reader and reader[each + key] != writer.get(each + key):
                yield f"asks for {meant}"


def _other_kind(reader: Facets, writer: Facets, each: str) -> Iterator[str]:
    for kind in KINDS:
        if each + kind in reader and each + kind not in writer:
            yield f"needs text that is a {kind}"


#: Facet, whether it is a lower bound, and what it bounds.
_BOUNDS = (
    ("min", True, "length"),
    ("max", False, "length"),
    ("ge", True, "value"),
    ("le", False, "value"),
    ("gt", True, "value"),
    ("lt", False, "value"),
    ("minitems", True, "number of items"),
    ("maxitems", False, "number of items"),
)
#: An exclusive bound says at least as much as the inclusive one with the same number.
_ALSO = {"ge": "gt", "le": "lt"}


def _tighter_bounds(reader: Facets, writer: Facets, each: str) -> Iterator[str]:
    for key, lower, meant in _BOUNDS:
        if each + key not in reader:
            continue
        asked = _number(reader[each + key])
        kept = [
            _number(writer[each + known])
            for known in (key, _ALSO.get(key))
            if known is not None and each + known in writer
        ]
        enough = any(
            asked is not None
            and found is not None
            and (found >= asked if lower else found <= asked)
            for found in kept
        )
        if not enough:
            yield f"takes a {meant} of {'at least' if lower else 'at most'} {asked}"


def _fewer_digits(reader: Facets, writer: Facets, each: str) -> Iterator[str]:
    for key, meant in (("places", "digits after the point"), ("whole", "digits before the point")):
        if each + key in reader:
            asked, kept = _number(reader[each + key]), _number(writer.get(each + key, ""))
            if asked is None or kept is None or kept > asked:
                yield f"takes at most {asked} {meant}"
