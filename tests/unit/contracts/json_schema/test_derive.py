"""The contracts derived from a class accept exactly what it writes, and what it reads."""

from __future__ import annotations

import datetime as dt
import enum
import re
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import validate

from eventbus import Alias, Deprecated, Event, Places, Struct, ValidationError, fields
from eventbus.contracts.json_schema.derive import schema_of
from eventbus.contracts.json_schema.dialects import DRAFT_07, DRAFT_2020_12, Dialect
from eventbus.contracts.json_schema.views import reader_view
from eventbus.declared import record_of


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Line(Struct):
    sku: Annotated[str, Alias("article"), validate.Length(min=1, max=8)]
    count: Annotated[int, validate.Range(min=1, max=99)] = 1


class EverythingHappened(Event, name="test.derived", style="snapshot", reason="a test"):
    text: str
    short: Annotated[str, validate.Length(max=5), validate.Regexp("^[A-Z]+$")]
    chosen: Annotated[str, validate.OneOf(["a", "b"])]
    number: int
    small: Annotated[int, validate.Range(min=0, max=7, max_inclusive=False)] | None
    flag: bool
    ratio: float
    share: Annotated[float, validate.Range(min=0, max=1)]
    amount: Decimal
    price: Annotated[Decimal, Places(2, digits=9)]
    part: Annotated[Decimal, Places(3, digits=3)]
    total: Annotated[Decimal, Places(0, digits=4), validate.Range(min=0)]
    ident: Annotated[UUID, Alias("id"), Alias("identifier")]
    moment: dt.datetime
    day: dt.date
    colour: Colour | None
    priority: Priority
    lines: Annotated[list[Line], validate.Length(max=2)]
    matrix: list[list[Annotated[Decimal, Places(1)] | None]]
    by_name: dict[str, dt.datetime]
    structs: dict[str, Line | None]
    renamed: Annotated[str, fields.Text(data_key="reNamed")] = "x"
    line: Line = Line(sku="none")
    old: Annotated[int | None, Deprecated("2030-01-01", "use number"), Alias("older")] = None
    numbers: list[int] = []  # noqa: RUF012 - copied for each instance
    when: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


_formats = jsonschema.FormatChecker(formats=["date", "uuid"])


def _is_moment(value: object) -> bool:
    """JSON Schema means ``format`` as a check here, which this package needs another one for."""
    return not isinstance(value, str) or bool(dt.date.fromisoformat(value[:10]))


_formats.checks("date-time", raises=ValueError)(_is_moment)


def _pattern(validator: Any, pattern: str, value: object, schema: object) -> Any:
    """As in ECMA-262, where ``$`` is the end and not the line before it."""
    if isinstance(value, str) and not re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _validator(schema: dict[str, Any]) -> Any:
    plain = jsonschema.validators.validator_for(schema)
    plain.check_schema(schema)
    return jsonschema.validators.extend(plain, {"pattern": _pattern})(
        schema, format_checker=_formats
    )


DIALECTS = (DRAFT_2020_12, DRAFT_07)
_WRITER = {
    dialect: _validator(schema_of(record_of(EverythingHappened), dialect)) for dialect in DIALECTS
}
_READER_VIEW = reader_view(schema_of(record_of(EverythingHappened), DRAFT_07))
_READER = _validator(_READER_VIEW)

_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_moments = st.datetimes(
    min_value=dt.datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=dt.datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(dt.timezone.utc),
)
_integers = st.integers(-(2**63), 2**63 - 1)
_lines = st.builds(
    Line, sku=_texts.filter(lambda text: 1 <= len(text) <= 8), count=st.integers(1, 99)
)


def _decimals(places: int, digits: int, least: int | None = None) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(-most if least is None else least, most).map(
        lambda unscaled: Decimal(f"{unscaled}E-{places}")
    )


def events() -> st.SearchStrategy[EverythingHappened]:
    return st.builds(
        EverythingHappened,
        text=_texts,
        short=st.text("ABC", min_size=1, max_size=5),
        chosen=st.sampled_from("ab"),
        number=_integers,
        small=st.none() | st.integers(0, 6),
        flag=st.booleans(),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        share=st.floats(0, 1),
        amount=_decimals(50, 100) | _decimals(100, 100) | _decimals(0, 100),
        price=_decimals(2, 9),
        part=_decimals(3, 3),
        total=_decimals(0, 4, 0),
        ident=st.uuids(),
        moment=_moments,
        day=st.dates(),
        colour=st.none() | st.sampled_from(Colour),
        priority=st.sampled_from(Priority),
        lines=st.lists(_lines, max_size=2),
        matrix=st.lists(st.lists(st.none() | _decimals(1, 38), max_size=3), max_size=3),
        by_name=st.dictionaries(_texts, _moments, max_size=3),
        structs=st.dictionaries(_texts, st.none() | _lines, max_size=3),
        renamed=_texts,
        line=_lines,
        old=st.none() | _integers,
        numbers=st.lists(_integers, max_size=3),
        when=_moments,
    )


def _told(validator: Any, data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message:.200}" for error in validator.iter_errors(data)]


# -- both directions -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_whatever_the_class_writes_fits_the_writers_contract(dialect: Dialect) -> None:
    @settings(max_examples=100, deadline=None)
    @given(events())
    def check(written: EverythingHappened) -> None:
        assert _told(_WRITER[dialect], written.__wire__()) == []

    check()


@settings(max_examples=100, deadline=None)
@given(events())
def test_whatever_the_class_writes_fits_its_readers_contract(written: EverythingHappened) -> None:
    assert _told(_READER, written.__wire__()) == []


def fitting(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that fit a reader's view."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_FITTING[name](schema) for name in types])


def _fitting_string(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" not in schema:
        return st.text(
            st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
            min_size=schema.get("minLength", 0),
            max_size=min(schema.get("maxLength", 20), 20),
        )
    digits = re.compile(schema["pattern"].replace("$", r"\Z"), re.ASCII)
    return st.from_regex(digits).filter(
        lambda text: (
            len(text) <= schema.get("maxLength", 200)
            and ("date" not in schema.get("format", "") or _formats.conforms(text[:10], "date"))
        )
    )


def _fitting_number(schema: dict[str, Any]) -> st.SearchStrategy[float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    return st.floats(low, high, allow_nan=False, allow_infinity=False) | st.integers(
        -(10**20) if low is None else low, 10**20 if high is None else high
    )


def _fitting_integer(schema: dict[str, Any]) -> st.SearchStrategy[float]:
    whole = st.integers(
        schema["minimum"], schema.get("exclusiveMaximum", schema["maximum"] + 1) - 1
    )
    return whole | whole.filter(lambda number: abs(number) < 2**53).map(float)


def _fitting_object(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        keys = st.text("abc", max_size=3)
        return st.dictionaries(keys, fitting(schema["additionalProperties"]), max_size=3)
    fields = {name: fitting(one) for name, one in schema["properties"].items()}
    spellings = [
        st.sampled_from([name for one in each["anyOf"] for name in one["required"]])
        for each in schema.get("allOf", [])
    ]

    def needing(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
        needed = {name: fields[name] for name in (*schema["required"], *names)}
        optional = {name: fields[name] for name in fields if name not in needed}
        return st.fixed_dictionaries(needed, optional={**optional, "unknown": st.integers()})

    return st.tuples(*spellings).flatmap(needing)


_FITTING: dict[str, Any] = {
    "null": lambda schema: st.none(),
    "boolean": lambda schema: st.booleans(),
    "string": _fitting_string,
    "number": _fitting_number,
    "integer": _fitting_integer,
    "object": _fitting_object,
    "array": lambda schema: st.lists(
        fitting(schema["items"]), min_size=schema.get("minItems", 0), max_size=2
    ),
}


@settings(max_examples=50, deadline=None)
@given(fitting(_READER_VIEW))
def test_whatever_fits_the_readers_contract_is_read(data: Any) -> None:
    assert _told(_READER, data) == []
    assert _told(_WRITER[DRAFT_07], EverythingHappened.__read__(data).__wire__()) == []


# fmt: off
_junk: st.SearchStrategy[Any] = st.sampled_from([
    None, True, 0, 1, 7, 7.0, 1.5, -1, 2**63, 10**30, 1e300, "", "a", "b", "AB", "AB\n", "red",
    "1", "-1", "0.5", "-0.0", "12.34", "12.345", "1" * 104, "2026-01-31", "2026-02-29",
    "0000-01-01", "2026-01-31T12:00:00Z", "2026-01-31t12:00:60z", "2024-02-29T00:00:00+23:59",
    "2026-01-31T12:00:00.1234567-24:00", "0199C2F1-0000-7000-8000-000000000001", [], [[]],
    {}, {"sku": "x"}, {"article": "x", "new": 1}, {"sku": ""}, {"a": None}, [{"sku": "y"}],
    [{"sku": "y"}] * 3, [[None, "0.1"]], {"": "2026-01-31T12:00:00Z"},
])
# fmt: on
_fields = st.sampled_from(
    [*_WRITER[DRAFT_07].schema["properties"], "id", "identifier", "older", "unknown"]
)


@settings(max_examples=200, deadline=None)
@given(events(), st.dictionaries(_fields, _junk, max_size=3), st.lists(_fields, max_size=2))
def test_the_class_reads_what_its_readers_contract_allows_and_nothing_else(
    written: EverythingHappened, changed: dict[str, Any], removed: list[str]
) -> None:
    data = {**written.__wire__(), **changed}
    for name in removed:
        data.pop(name, None)
    if not _told(_READER, data):
        EverythingHappened.__read__(data)
    elif not ({"id", "identifier"} & {*data} or "older" in data):
        # Where a message has both names of a field, its old one is not looked at.
        with pytest.raises(ValidationError):
            EverythingHappened.__read__(data)
