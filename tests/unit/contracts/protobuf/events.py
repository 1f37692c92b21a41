# ruff: noqa: RUF012 - an event copies the defaults of its fields.
"""Events with every type that has a form in Protobuf, and random ones of them."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from hypothesis import strategies as st
from marshmallow.validate import Length, Range

from eventbus import Event
from eventbus.annotations import Places
from eventbus.contracts import Format, Schema
from eventbus.contracts.protobuf import SUPPORT
from eventbus.declared import record_of
from eventbus.event import Struct

SNAPSHOT: dict[str, Any] = {"style": "snapshot", "reason": "a test"}


class Colour(enum.Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"
    NONE = ""
    GREEN = "grün"


class Level(enum.IntEnum):
    LOW = 0
    HIGH = 2**40


class Point(Struct):
    x: int
    label: str | None = None


class Everything(Event, name="every.thing", **SNAPSHOT):
    """All of it."""

    text: str
    short: Annotated[str, Length(max=5)] = "x"
    number: int
    small: Annotated[int, Range(min=0, max=9)] = 1
    ratio: float
    flag: bool
    id: UUID
    at: dt.datetime
    day: dt.date
    amount: Decimal
    price: Annotated[Decimal, Places(2)]
    colour: Colour
    level: Level
    point: Point
    # Called like what the message classes of the protobuf package have.
    Clear: str = ""
    DESCRIPTOR: int = 0
    maybe_text: str | None = None
    maybe_number: int | None = None
    maybe_flag: bool | None = None
    maybe_at: dt.datetime | None = None
    maybe_colour: Colour | None = None
    maybe_point: Point | None = None
    texts: list[str] = []
    moments: list[dt.datetime] = []
    colours: list[Colour] = []
    points: list[Point] = []
    counts: dict[str, int] = {}
    prices: dict[str, Decimal] = {}
    by_name: dict[str, Point] = {}
    colour_of: dict[str, Colour] = {}


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(
    dt.datetime(2, 1, 1),  # noqa: DTZ001 - hypothesis asks for it without
    dt.datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=st.just(dt.timezone.utc),
)
DECIMALS = st.decimals(
    allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9
)
PRICES = st.integers(-(10**6), 10**6).map(lambda cents: Decimal(cents).scaleb(-2))
COLOURS = st.sampled_from(Colour)
POINTS = st.builds(Point, x=INTEGERS, label=st.none() | TEXTS)

EVENTS = st.builds(
    Everything,
    text=TEXTS,
    short=st.text("ab", max_size=5),
    number=INTEGERS,
    small=st.integers(0, 9),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    flag=st.booleans(),
    id=st.uuids(),
    at=MOMENTS,
    day=st.dates(),
    amount=DECIMALS,
    price=PRICES,
    colour=COLOURS,
    level=st.sampled_from(Level),
    point=POINTS,
    Clear=TEXTS,
    DESCRIPTOR=INTEGERS,
    maybe_text=st.none() | TEXTS,
    maybe_number=st.none() | INTEGERS,
    maybe_flag=st.none() | st.booleans(),
    maybe_at=st.none() | MOMENTS,
    maybe_colour=st.none() | COLOURS,
    maybe_point=st.none() | POINTS,
    texts=st.lists(TEXTS, max_size=3),
    moments=st.lists(MOMENTS, max_size=2),
    colours=st.lists(COLOURS, max_size=3),
    points=st.lists(POINTS, max_size=2),
    counts=st.dictionaries(TEXTS, INTEGERS, max_size=2),
    prices=st.dictionaries(TEXTS, DECIMALS, max_size=2),
    by_name=st.dictionaries(TEXTS, POINTS, max_size=2),
    colour_of=st.dictionaries(TEXTS, COLOURS, max_size=2),
)


def contract(event_class: type[Event], *previous: Schema) -> Schema:
    """The Protobuf contract of an event, after earlier versions."""
    texts = [schema.text for schema in previous]
    return Schema(Format.PROTOBUF, SUPPORT.derive(record_of(event_class), texts))
