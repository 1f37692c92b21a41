"""The Avro schema of an event's class, and classes that follow one another."""

from __future__ import annotations

import datetime as dt
import enum
import io
import json
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Annotated, Any
from uuid import UUID, uuid4

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow.validate import Length, OneOf, Range, Regexp

from eventbus import Event
from eventbus.annotations import Alias, Deprecated, Places
from eventbus.contracts import check_compatibility
from eventbus.contracts.avro import CODEC, SUPPORT
from eventbus.contracts.schema import Format, Schema
from eventbus.declared import record_of
from eventbus.errors import DeclarationError
from eventbus.event import Struct
from tests.unit.contracts.avro.events import Colour, Everything, Line, Rank


def derived(cls: type[Event]) -> Any:
    return json.loads(SUPPORT.derive(record_of(cls), []))


def snapshot(name: str = "order.placed", **annotations: Any) -> type[Event]:
    """An event class with these fields: an annotation, or (annotation, default)."""
    fields = {key: one if isinstance(one, tuple) else (one,) for key, one in annotations.items()}
    namespace: dict[str, Any] = {key: one[1] for key, one in fields.items() if len(one) > 1}
    namespace["__annotations__"] = {key: one[0] for key, one in fields.items()}
    namespace["__module__"] = __name__
    made: Any = type(Event)("Made", (Event,), namespace, name=name, style="snapshot", reason="test")
    return made  # type: ignore[no-any-return]


def field_of(annotation: Any) -> dict[str, Any]:
    (found,) = derived(snapshot(a=annotation))["fields"]
    return found  # type: ignore[no-any-return]


def test_an_event_is_a_record_in_its_namespace() -> None:
    found = derived(snapshot("order.paid.v2", a=str))
    assert (found["type"], found["namespace"], found["name"]) == ("record", "order.paid", "v2")


def test_what_is_no_name_in_avro_becomes_one() -> None:
    found = derived(snapshot("2026.größe-x", a=str))
    assert (found["namespace"], found["name"]) == ("_2026", "gr__e_x")
    assert "namespace" not in derived(snapshot("ping", a=str))


FIELDS: dict[str, tuple[Any, Any]] = {
    "str": (str, "string"),
    "int": (int, "long"),
    "bool": (bool, "boolean"),
    "float": (float, "double"),
    "UUID": (UUID, {"type": "string", "logicalType": "uuid"}),
    "datetime": (dt.datetime, {"type": "long", "logicalType": "timestamp-micros"}),
    "date": (dt.date, {"type": "int", "logicalType": "date"}),
    "Decimal": (
        Annotated[Decimal, Places(2, digits=9)],
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    ),
    "list": (list[int], {"type": "array", "items": "long"}),
    "dict": (dict[str, int | None], {"type": "map", "values": ["null", "long"]}),
    "enum": (
        Colour,
        {
            "type": "enum",
            "name": "Colour",
            "namespace": "order.placed",
            "symbols": ["red", "DARK_BLUE"],
            "x-eventbus": {"values": ["red", "dark-blue"]},
        },
    ),
    "enum of integers": (
        Rank,
        {
            "type": "enum",
            "name": "Rank",
            "namespace": "order.placed",
            "symbols": ["FIRST", "SECOND"],
            "x-eventbus": {"values": [1, 2]},
        },
    ),
    "length": (
        Annotated[str, Length(min=1, max=5)],
        {"type": "string", "x-eventbus": {"minLength": 1, "maxLength": 5}},
    ),
    "range": (
        Annotated[int, Range(min=1, max=5, max_inclusive=False)],
        {"type": "long", "x-eventbus": {"minimum": 1, "exclusiveMaximum": 5}},
    ),
    "choices": (
        Annotated[str, OneOf(["a", "b"])],
        {"type": "string", "x-eventbus": {"enum": ["a", "b"]}},
    ),
    "length of a list": (
        Annotated[list[str], Length(max=3)],
        {"type": "array", "items": "string", "x-eventbus": {"maxItems": 3}},
    ),
}


@pytest.mark.parametrize(("annotation", "schema"), FIELDS.values(), ids=FIELDS)
def test_a_field_has_its_type(annotation: Any, schema: Any) -> None:
    assert field_of(annotation) == {"name": "a", "type": schema}
    assert field_of(annotation | None) == {"name": "a", "type": ["null", schema]}
    assert field_of((annotation | None, None)) == {
        "name": "a",
        "type": ["null", schema],
        "default": None,
    }


def test_a_default_comes_from_the_first_branch() -> None:
    assert field_of((str | None, "x"))["type"] == ["string", "null"]
    assert field_of((list[str | None], ["x"]))["type"]["items"] == ["string", "null"]


DEFAULTS: dict[str, tuple[Any, Any, Any]] = {
    "datetime": (dt.datetime, dt.datetime(1970, 1, 2, tzinfo=dt.timezone.utc), 86_400_000_000),
    "date": (dt.date, dt.date(1970, 1, 2), 1),
    "Decimal": (Annotated[Decimal, Places(2)], Decimal("2.5"), "\x00ú"),
    "enum": (Colour, Colour.DARK_BLUE, "DARK_BLUE"),
    "list": (list[Colour], [Colour.DARK_BLUE], ["DARK_BLUE"]),
    "struct": (
        Line,
        Line(sku="a", price=Decimal(1)),
        {"sku": "a", "price": "d", "tags": [], "note": None},
    ),
}


@pytest.mark.parametrize(("annotation", "default", "written"), DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_has_avros_form(annotation: Any, default: Any, written: Any) -> None:
    assert field_of((annotation, default))["default"] == written


def test_the_defaults_are_those_that_fastavro_reads() -> None:
    nothing = {"type": "record", "name": "order.placed", "fields": []}
    reader = snapshot(**{key: (one[0], one[1]) for key, one in DEFAULTS.items()})
    schema = fastavro.parse_schema(derived(reader))
    found: Any = fastavro.schemaless_reader(io.BytesIO(b""), fastavro.parse_schema(nothing), schema)
    assert set(found) == set(DEFAULTS)


def test_aliases_and_deprecations_are_told() -> None:
    found = field_of(Annotated[str, Alias("b"), Deprecated("2027-01-01", "use c")])
    assert found["aliases"] == ["b"]
    assert found["x-eventbus"] == {"deprecated": {"until": "2027-01-01", "instead": "use c"}}


def test_a_struct_is_defined_once() -> None:
    found = derived(snapshot(a=Line, b=list[Line]))["fields"]
    assert found[0]["type"]["name"] == "Line"
    assert found[1]["type"]["items"] == "order.placed.Line"


class Clash(enum.Enum):
    """The value of one is the name of the other."""

    A = "B"
    B = "x-y"


REFUSED: dict[str, tuple[Any, str]] = {
    "a decimal without places": (Decimal, r"Annotated\[Decimal, Places\(2\)\]"),
    "a symbol twice": (Clash, "another name"),
    "a default with null and others": ((list[str | None], ["a", None]), "make the default empty"),
    "an alias that is no name": (Annotated[str, Alias("a-b")], "'a-b' is no name in Avro"),
}


@pytest.mark.parametrize(("annotation", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_form_is_refused_with_the_remedy(annotation: Any, remedy: str) -> None:
    with pytest.raises(DeclarationError, match=remedy):
        derived(snapshot(a=annotation))


def test_every_derived_schema_is_read_by_fastavro() -> None:
    fastavro.parse_schema(derived(Everything))


# -- one class after another ---------------------------------------------------------------------


class Point(Struct):
    """A struct, and as it was before."""

    x: int
    y: int = 0


class Wide(Struct):
    """The same name would be another type; a field more."""

    x: int
    z: int


_Maker = Callable[[Random], Any]
#: Annotations that may follow one another in a field, with values that fit.
KINDS: list[tuple[Any, Any, _Maker]] = [
    (str, "d", lambda random: random.choice(["", "a", "abcdef", "ab"])),
    (Annotated[str, Length(max=3)], "d", lambda random: random.choice(["", "abc"])),
    (Annotated[str, Length(min=1)], "d", lambda random: random.choice(["a", "abcdef"])),
    (Annotated[str, OneOf(["a", "d"])], "d", lambda random: random.choice(["a", "d"])),
    (Annotated[str, OneOf(["a", "b", "d"])], "d", lambda random: random.choice(["a", "b"])),
    (Annotated[str, Regexp(r"^[a-d]*$")], "d", lambda random: random.choice(["", "abc"])),
    (int, 1, lambda random: random.choice([-(2**63), 0, 5, 2**63 - 1])),
    (Annotated[int, Range(min=0)], 1, lambda random: random.choice([0, 7])),
    (Annotated[int, Range(min=0, min_inclusive=False, max=9)], 1, lambda r: r.choice([1, 9])),
    (float, 1.5, lambda random: random.choice([-1e300, 0.25])),
    (Annotated[float, Range(min=-1, max=9.5)], 1.5, lambda r: r.choice([-1.0, 9.5])),
    (bool, True, lambda random: random.random() < 0.5),
    (Annotated[Decimal, Places(2, digits=6)], Decimal(1), lambda r: Decimal(r.randint(0, 9999))),
    (Annotated[Decimal, Places(3, digits=6)], Decimal(1), lambda r: Decimal(r.randint(0, 999))),
    (Annotated[Decimal, Places(2, digits=9)], Decimal(1), lambda r: Decimal(r.randint(0, 9999))),
    (UUID, UUID(int=1), lambda random: uuid4()),
    (dt.date, dt.date(2026, 1, 1), lambda random: dt.date(2000 + random.randint(0, 50), 1, 1)),
    (Colour, Colour.RED, lambda random: random.choice(list(Colour))),
    (Rank, Rank.FIRST, lambda random: random.choice(list(Rank))),
    (Point, Point(x=1), lambda random: Point(x=random.randint(0, 9), y=2)),
    (Wide, Wide(x=1, z=2), lambda random: Wide(x=1, z=3)),
    (list[int], [], lambda random: [1] * random.randint(0, 4)),
    (Annotated[list[int], Length(max=2)], [], lambda random: [1] * random.randint(0, 2)),
    (dict[str, str], {}, lambda random: {"k": "v"}),
]


def random_class(random: Random, likes: dict[str, int]) -> tuple[type[Event], dict[str, _Maker]]:
    """A class with some of the fields; `likes` says which kind a field had before."""
    annotations: dict[str, Any] = {}
    makers: dict[str, _Maker] = {}
    for name in random.sample("abcd", random.randint(1, 4)):
        near = likes.get(name, random.randrange(len(KINDS)))
        index = near + random.choice((0, 0, 0, -1, 1, 2))
        kind, default, maker = KINDS[index % len(KINDS)]
        likes[name] = index % len(KINDS)
        if random.random() < 0.3:
            free = set("abcd") - set(annotations) - {name}
            kind = Annotated[kind, Alias(random.choice(sorted(free)))] if free else kind
        if random.random() < 0.3:
            kind, maker = (
                kind | None,
                lambda random, make=maker: random.choice([None, make(random)]),
            )
        annotations[name] = (kind, default) if random.random() < 0.6 else kind
        makers[name] = maker
    return snapshot(**annotations), makers


@settings(max_examples=400, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_a_compatible_class_reads_every_event_of_the_other(seed: int) -> None:
    random, likes = Random(seed), dict[str, int]()
    try:
        writer, makers = random_class(random, likes)
        reader, _ = random_class(random, likes)
    except DeclarationError:
        return
    written, reads = (
        Schema(Format.AVRO, SUPPORT.derive(record_of(cls), [])) for cls in (writer, reader)
    )
    if not check_compatibility(reader=reads, writer=written, format="avro"):
        return
    encode, read = CODEC.encoder(writer, written), CODEC.reader(reader, written)
    for _ in range(4):
        event = writer(**{name: make(random) for name, make in makers.items()})
        found = read(encode(event))
        assert found == reader.__read__(event.__wire__())
