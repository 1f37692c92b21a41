"""Events with everything that has a form in Avro."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from hypothesis import strategies as st
from marshmallow.validate import Length, Range

from eventbus import Event
from eventbus.annotations import Alias, Places
from eventbus.event import Struct


class Colour(enum.Enum):
    """A value that is no name in Avro."""

    RED = "red"
    DARK_BLUE = "dark-blue"


class Rank(enum.Enum):
    """Values that are no strings."""

    FIRST = 1
    SECOND = 2


class Line(Struct):
    """Inside lists, maps and fields."""

    sku: Annotated[str, Length(max=12)]
    price: Annotated[Decimal, Places(2, digits=10)]
    tags: list[str] = []  # noqa: RUF012 - copied for each instance
    note: str | None = None


class Everything(Event, name="order.placed", format="avro", style="snapshot", reason="a test"):
    """Every type, with and without null and default."""

    order_id: Annotated[UUID, Alias("oid")]
    placed_at: dt.datetime
    day: dt.date
    colour: Colour
    count: Annotated[int, Range(min=0)]
    paid: bool
    rate: float
    total: Annotated[Decimal, Places(2, digits=12)]
    lines: list[Line]
    extras: dict[str, int | None]
    by_sku: dict[str, Line]
    days: list[dt.date | None]
    rank: Rank = Rank.FIRST
    note: Annotated[str, Length(max=20)] | None = None
    first: Line | None = None
    until: dt.datetime | None = None
    other_id: UUID | None = None
    currency: str | None = "EUR"
    fee: Annotated[Decimal, Places(2)] = Decimal("12.50")
    since: dt.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    names: list[str | None] = ["a"]  # noqa: RUF012


def _decimals(digits: int) -> st.SearchStrategy[Decimal]:
    most = 10**digits - 1
    return st.integers(min_value=-most, max_value=most).map(lambda n: Decimal(f"{n}e-2"))


_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_moments = st.datetimes(timezones=st.just(dt.timezone.utc))
_integers = st.integers(min_value=-(2**63), max_value=2**63 - 1)

lines = st.builds(
    Line,
    sku=_texts,
    price=_decimals(10),
    tags=st.lists(_texts, max_size=2),
    note=st.none() | _texts,
)

events = st.builds(
    Everything,
    order_id=st.uuids(),
    placed_at=_moments,
    day=st.dates(),
    colour=st.sampled_from(Colour),
    count=st.integers(min_value=0, max_value=2**63 - 1),
    paid=st.booleans(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    total=_decimals(12),
    lines=st.lists(lines, max_size=2),
    extras=st.dictionaries(_texts, st.none() | _integers, max_size=2),
    by_sku=st.dictionaries(_texts, lines, max_size=1),
    days=st.lists(st.none() | st.dates(), max_size=2),
    rank=st.sampled_from(Rank),
    note=st.none() | _texts,
    first=st.none() | lines,
    until=st.none() | _moments,
    other_id=st.none() | st.uuids(),
    currency=st.none() | _texts,
    fee=_decimals(38),
    since=_moments,
    names=st.lists(st.none() | _texts, max_size=2),
)
