"""What a thin event may hold, when its class is declared."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import marshmallow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import validate

from eventbus import Event, Ref, Struct, fields
from eventbus.envelope import dump_data
from eventbus.errors import DeclarationError
from eventbus.thin import MAX_BYTES, findings_of, unenforced, worst_case_bytes


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(Struct):
    street: str


class AlsoRef(Ref):
    total: int


def declare(hint: Any, field: str = "subject", **keywords: Any) -> type[Event]:
    """An event with one field."""
    keywords = {"name": "thin.test", **keywords}
    namespace = {"__annotations__": {field: hint}, "__module__": __name__}
    made: type[Event] = type(Event)("Tested", (Event,), namespace, **keywords)
    return made


Code = Annotated[str, validate.Length(max=64)]


@pytest.mark.parametrize(
    "hint",
    [
        UUID,
        UUID | None,
        dt.datetime,
        dt.date,
        bool,
        int,
        Annotated[int, validate.Range(min=0, max=9)],
        Colour,
        Ref,
        Ref | None,
        Code,
        Annotated[str, validate.Length(equal=3)],
        Annotated[str, validate.Length(max=0)],
        Annotated[int, validate.Range(max=float("inf"))],
        Annotated[int, validate.Range(min=-(10**30), max=10**30)],
        Annotated[int, validate.Range(min=0.5, max=Decimal("9.5"))],
        Annotated[str, validate.OneOf(["DE", "AT"])],
        Annotated[str, validate.Regexp(r"[A-Z]{3}-[0-9]{8}\Z")],
        Annotated[str, fields.Text(validate=validate.Length(max=10))],
        Annotated[str, fields.Text(validate=[validate.And(validate.Length(max=10))])],
        Annotated[str, marshmallow.fields.String(validate=validate.Length(max=10))],
        Annotated[int, marshmallow.fields.Integer(validate=validate.Range(min=0, max=10))],
        Annotated[dt.datetime, marshmallow.fields.DateTime()],
        Annotated[UUID, marshmallow.fields.UUID()],
        Annotated[list[UUID], validate.Length(max=20)],
        Annotated[list[Colour], validate.Length(max=20)],
        Annotated[list[Ref], validate.Length(max=3)],
        Annotated[list[Annotated[list[int], validate.Length(max=3)]], validate.Length(max=3)],
    ],
)
def test_what_a_thin_event_may_hold(hint: Any) -> None:
    assert findings_of(declare(hint)) == []


@pytest.mark.parametrize(
    ("hint", "rule"),
    [
        (float, "is a floating-point number"),
        (Decimal, "is a decimal"),
        (Annotated[Decimal, fields.DecimalText(validate=validate.Range(max=9))], "is a decimal"),
        (Annotated[Decimal, marshmallow.fields.Decimal(as_string=True)], "is a decimal"),
        (str, "is a string without a bound"),
        (str | None, "is a string without a bound"),
        (Annotated[str, validate.Length(min=3)], "is a string without a bound"),
        (Annotated[str, validate.Regexp(r"[a-z]+\Z")], "is a string without a bound"),
        (Annotated[str, validate.Regexp(r".{3}\Z")], "is a string without a bound"),
        (Annotated[str, marshmallow.fields.String()], "is a string without a bound"),
        (Annotated[str, marshmallow.fields.Url()], "is a string without a bound"),
        (Annotated[str, marshmallow.fields.Email()], "is an e-mail address"),
        (Annotated[str, marshmallow.fields.IP()], "is an IP address"),
        (Annotated[int, marshmallow.fields.Integer()], "is an integer without a bound"),
        (
            Annotated[int, marshmallow.fields.Integer(validate=validate.Range(0, float("inf")))],
            "is an integer without a bound",
        ),
        (
            Annotated[dt.datetime, marshmallow.fields.DateTime(format="%Y")],
            "is a moment in a format of its own",
        ),
        (Annotated[Any, marshmallow.fields.Raw()], "is a Raw, whose size"),
        (Annotated[Any, marshmallow.fields.Dict()], "is a dictionary"),
        (list[UUID], "is a list without a bound"),
        (Annotated[list[str], validate.Length(max=3)], "is a string without a bound"),
        (Annotated[list[UUID], validate.Length(min=3)], "is a list without a bound"),
        (dict[str, int], "is a dictionary"),
        (Address, "is a nested Address"),
        (AlsoRef, "is a nested AlsoRef"),
        (Annotated[list[Address], validate.Length(max=1)], "is a nested Address"),
        (Annotated[list[UUID], validate.Length(max=100)], "takes up to 3914 bytes"),
        (Annotated[str, validate.Length(max=1000)], "takes up to 6014 bytes"),
    ],
)
def test_what_it_may_not_hold_and_what_to_do(hint: Any, rule: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        declare(hint)
    text = str(refused.value)
    assert "thin.test" in text
    assert "subject" in text
    assert rule in text
    assert 'style="snapshot", reason="…"' in text
    assert declare(hint, style="snapshot", reason="a test").__reason__ == "a test"


@pytest.mark.parametrize("name", ["email", "cardNumber", "access_token", "date_of_birth"])
def test_a_name_that_smells_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match=f"{name} smells of"):
        declare(Code, name)


@pytest.mark.parametrize("hint", [Ref, Ref | None, Annotated[list[Ref], validate.Length(max=2)]])
def test_a_reference_to_an_address_says_nothing_of_it(hint: Any) -> None:
    assert findings_of(declare(hint, "address")) == []


def test_the_name_on_the_wire_counts_as_well() -> None:
    with pytest.raises(DeclarationError, match="userEmail smells of personal data: 'email'"):
        declare(Annotated[str, fields.Text(data_key="userEmail", validate=validate.Length(max=9))])


def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(DeclarationError) as refused:

        class Paid(Event, name="thin.many"):
            total: Decimal
            email: Code
            note: str

    for text in ("total is a decimal", "email smells of personal data", "note is a string"):
        assert text in str(refused.value)


def test_many_reasons_are_cut_short() -> None:
    namespace = {"__annotations__": {f"f{n}": float for n in range(500)}, "__module__": __name__}
    with pytest.raises(DeclarationError, match="and 495 more") as refused:
        type(Event)("Wide", (Event,), namespace, name="thin.wide")
    assert len(str(refused.value)) < 1000


def test_a_base_may_be_anything_and_its_fields_count_where_there_is_a_name() -> None:
    class Base(Event):
        total: Decimal

    with pytest.raises(DeclarationError, match="total is a decimal"):

        class Paid(Base, name="thin.inherited"):
            pass


def test_an_event_of_another_service_is_theirs_to_judge() -> None:
    assert declare(Decimal, source="billing").__source__ == "billing"


@pytest.mark.parametrize("reason", ["", "  ", "\n"])
def test_a_snapshot_says_why(reason: str) -> None:
    with pytest.raises(DeclarationError, match="is a snapshot without a reason"):
        declare(UUID, style="snapshot", reason=reason)


@pytest.mark.parametrize("style", ["fat", "Thin", "", 7])
def test_there_are_two_styles(style: Any) -> None:
    with pytest.raises(DeclarationError, match="style="):
        declare(UUID, style=style)


def test_the_check_can_wait_for_a_report_of_all() -> None:
    with unenforced():
        wrong = declare(Decimal)
    assert [finding.rule for finding in findings_of(wrong)] == ["is a decimal"]
    with pytest.raises(DeclarationError):
        declare(Decimal)


# -- the worst case ------------------------------------------------------------------------------


class Largest(Event, name="thin.largest"):
    ident: UUID
    moment: dt.datetime
    day: dt.date
    flag: bool
    number: int
    small: Annotated[int, validate.Range(min=-9, max=99)]
    colour: Colour | None
    code: Annotated[str, validate.Length(max=8)]
    plain: Annotated[str, validate.Regexp(r"[A-Z]{1,8}\Z")]
    subject: Ref
    numbers: Annotated[list[int | None], validate.Length(max=3)]


def texts(length: int) -> st.SearchStrategy[str]:
    return st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=length
    )


_int64 = st.integers(-(2**63), 2**63 - 1) | st.just(-(2**63))
_largest = st.builds(
    Largest,
    ident=st.uuids(),
    moment=st.datetimes(timezones=st.just(dt.timezone.utc)),
    day=st.dates(),
    flag=st.booleans(),
    number=_int64,
    small=st.integers(-9, 99),
    colour=st.sampled_from([*Colour, None]),
    code=texts(8) | st.just("\x1f" * 8) | st.just("\U0001f600" * 8),
    plain=st.from_regex(r"\A[A-Z]{1,8}\Z", fullmatch=True),
    subject=st.builds(
        Ref,
        st.from_regex(r"\A[a-z][a-z0-9_.-]{0,63}\Z", fullmatch=True),
        st.from_regex(r"\A[A-Za-z0-9_.:/+=~-]{1,128}\Z", fullmatch=True) | _int64 | st.uuids(),
    ),
    numbers=st.lists(_int64 | st.none(), max_size=3),
)


@settings(max_examples=80, deadline=None)
@given(_largest)
def test_no_event_is_larger_than_its_worst_case(event: Largest) -> None:
    assert len(dump_data(event.__wire__())) <= worst_case_bytes(Largest.__declared__) <= MAX_BYTES


def test_the_worst_case_can_happen() -> None:
    event = Largest(
        ident=UUID(int=0),
        moment=dt.datetime(2026, 1, 31, tzinfo=dt.timezone.utc),
        day=dt.date(2026, 1, 31),
        flag=False,
        number=-(2**63),
        small=99,
        colour=Colour.BLUE,
        code="\x1f" * 8,
        plain="A" * 8,
        subject=Ref("a" * 64, "a" * 128),
        numbers=[-(2**63)] * 3,
    )
    size = len(dump_data(event.__wire__()))
    # Room for an offset that only marshmallow's own field writes, and a comma after the last item.
    worst = worst_case_bytes(Largest.__declared__)
    assert worst - 10 <= size <= worst
