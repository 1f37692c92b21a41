"""Events: what a declaration accepts, and that what is written is exactly what is read back."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import json
import pickle
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Optional
from uuid import UUID
from zoneinfo import ZoneInfo

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import validate

from eventbus import Event, Struct, ValidationError, fields
from eventbus.envelope import dump_data, load_data
from eventbus.errors import DeclarationError
from eventbus.event import named_events
from eventbus.message import Message

NOON = dt.datetime(2026, 1, 31, 12, tzinfo=dt.timezone.utc)
SOME_ID = UUID("0199c2f1-0000-7000-8000-000000000001")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Address(Struct):
    street: str
    country: str = "DE"


class EverythingHappened(
    Event, name="test.everything", style="snapshot", reason="a test of every type"
):
    text: str
    number: int
    flag: bool
    ratio: float
    amount: Decimal
    ident: UUID
    moment: dt.datetime
    day: dt.date
    colour: Colour
    priority: Priority
    address: Address
    maybe: int | None
    old_style: Optional[str]  # noqa: UP045 - the older spelling must work as well
    numbers: list[int]
    gaps: list[int | None]
    addresses: list[Address]
    matrix: list[list[Decimal]]
    by_name: dict[str, dt.datetime]
    structs: dict[str, Address | None]
    short: Annotated[str, validate.Length(max=5)]
    renamed: Annotated[str, fields.Text(data_key="reNamed")]
    email: Annotated[str, marshmallow.fields.Email()]


def everything(**changes: Any) -> EverythingHappened:
    values: dict[str, Any] = {
        "text": "Zürich",
        "number": -7,
        "flag": False,
        "ratio": 0.5,
        "amount": Decimal("12.50"),
        "ident": SOME_ID,
        "moment": NOON,
        "day": dt.date(2026, 1, 31),
        "colour": Colour.RED,
        "priority": Priority.HIGH,
        "address": Address(street="Gasse 1"),
        "maybe": None,
        "old_style": None,
        "numbers": [1, 2],
        "gaps": [1, None],
        "addresses": [Address(street="a", country="AT")],
        "matrix": [[Decimal("1")], []],
        "by_name": {"at": NOON},
        "structs": {"none": None, "some": Address(street="b")},
        "short": "12345",
        "renamed": "x",
        "email": "a@example.org",
    }
    return EverythingHappened(**{**values, **changes})


def sent_and_read(event: Event) -> Event:
    """`event` as a consumer gets it: through bytes, by the strict JSON reader."""
    body = dump_data(event.__wire__())
    message = Message(body, "any", content_type="application/json")
    return type(event).__read__(load_data(message, 1 << 20))


# -- what is written -----------------------------------------------------------------------------


def test_each_type_has_its_form_on_the_wire() -> None:
    assert everything().__wire__() == {
        "text": "Zürich",
        "number": -7,
        "flag": False,
        "ratio": 0.5,
        "amount": "12.50",
        "ident": str(SOME_ID),
        "moment": "2026-01-31T12:00:00.000000Z",
        "day": "2026-01-31",
        "colour": "red",
        "priority": 2,
        "address": {"street": "Gasse 1", "country": "DE"},
        "maybe": None,
        "old_style": None,
        "numbers": [1, 2],
        "gaps": [1, None],
        "addresses": [{"street": "a", "country": "AT"}],
        "matrix": [["1"], []],
        "by_name": {"at": "2026-01-31T12:00:00.000000Z"},
        "structs": {"none": None, "some": {"street": "b", "country": "DE"}},
        "short": "12345",
        "reNamed": "x",
        "email": "a@example.org",
    }


def test_what_is_written_is_read_back() -> None:
    assert sent_and_read(everything()) == everything()


_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_moments = st.datetimes(
    min_value=dt.datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=dt.datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.one_of(
        st.just(dt.timezone.utc),
        st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")]),
        st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone),
    ),
    allow_imaginary=False,
)
_decimals = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: fields.DecimalText._fits(number)
)
_addresses = st.builds(Address, street=_texts, country=_texts)


@given(
    st.builds(
        everything,
        text=_texts,
        number=st.integers(-(2**63), 2**63 - 1),
        flag=st.booleans(),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        amount=_decimals,
        ident=st.uuids(),
        moment=_moments,
        day=st.dates(),
        colour=st.sampled_from(Colour),
        priority=st.sampled_from(Priority),
        address=_addresses,
        maybe=st.none() | st.integers(0, 9),
        numbers=st.lists(st.integers(-5, 5)),
        gaps=st.lists(st.none() | st.integers(0, 9)),
        addresses=st.lists(_addresses, max_size=3),
        matrix=st.lists(st.lists(_decimals, max_size=2), max_size=2),
        by_name=st.dictionaries(_texts, _moments, max_size=3),
        structs=st.dictionaries(_texts, st.none() | _addresses, max_size=3),
        short=_texts.filter(lambda text: len(text) <= 5),
    )
)
def test_whatever_can_be_written_is_read_back_equal(event: EverythingHappened) -> None:
    assert sent_and_read(event).__wire__() == event.__wire__()
    read = sent_and_read(event)
    assert read == EverythingHappened(**read.__dict__)
    assert (read.number, read.ratio, read.amount) == (event.number, event.ratio, event.amount)
    assert read.moment.timestamp() == event.moment.timestamp()


def test_a_decimal_with_all_its_digits_after_the_point_is_written() -> None:
    tiny = Decimal((1, (1,) * 100, -100))
    assert sent_and_read(everything(amount=tiny)).__dict__["amount"] == tiny


def test_a_time_in_the_hour_that_a_clock_passes_twice_is_written() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for fold in (0, 1):
        ambiguous = dt.datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold)
        assert (
            everything(moment=ambiguous).__wire__()["moment"] == f"2026-10-25T0{fold}:30:00.000000Z"
        )
        assert everything(by_name={"x": ambiguous}).__wire__()


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("text", 5, "Not a valid string"),
        ("text", b"x", "Not a valid string"),
        ("text", "nul\0", "NUL or a lone surrogate"),
        ("text", "\ud800", "NUL or a lone surrogate"),
        ("number", 3.0, "Not a valid integer"),
        ("number", True, "Not a valid integer"),
        ("number", "3", "Not a valid integer"),
        ("number", 2**63, "64-bit"),
        ("number", None, "may not be null"),
        ("flag", 1, "Not a valid boolean"),
        ("flag", "yes", "Not a valid boolean"),
        ("ratio", float("nan"), "finite"),
        ("ratio", float("inf"), "finite"),
        ("ratio", 10**400, "finite"),
        ("ratio", 2**53 + 1, "read back"),
        ("ratio", "0.5", "Not a valid number"),
        ("ratio", True, "Not a valid number"),
        ("amount", 12.5, "Not a decimal.Decimal"),
        ("amount", "12.5", "Not a decimal.Decimal"),
        ("amount", Decimal("NaN"), "finite"),
        ("amount", Decimal("sNaN"), "finite"),
        ("amount", Decimal("Infinity"), "finite"),
        ("amount", Decimal("1E+999999"), "digits"),
        ("ident", str(SOME_ID), "Not a uuid.UUID"),
        ("moment", dt.datetime(2026, 1, 31), "time zone"),  # noqa: DTZ001
        ("moment", dt.date(2026, 1, 31), "Not a datetime.datetime"),
        ("moment", "2026-01-31T12:00:00Z", "Not a datetime.datetime"),
        (
            "moment",
            dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(dt.timedelta(hours=-2))),
            "Cannot be written",
        ),
        ("day", NOON, "Not a datetime.date"),
        ("colour", "red", "Not a Colour"),
        ("priority", 2, "Not a Priority"),
        ("address", {"street": "x"}, "Not a Address"),
        ("numbers", (1, 2), "Not a valid list"),
        ("numbers", "12", "Not a valid list"),
        ("numbers", [1, "2"], r"numbers\.1: Not a valid integer"),
        ("numbers", [None], "numbers.0"),
        ("matrix", [[1]], r"matrix\.0\.0"),
        ("by_name", {1: NOON}, "by_name.1"),
        ("by_name", {"a": None}, "by_name.a"),
        ("by_name", [], "mapping"),
        ("short", "123456", "Longer than maximum length"),
        ("email", "nobody", "Not a valid email"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_constructor(
    field: str, value: object, complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        everything(**{field: value})
    assert set(caught.value.errors) == {field}
    assert "test.everything" in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        everything(number="x", flag=2, unknown=1)
    assert caught.value.errors == {"unknown": ["Unknown field."]}
    with pytest.raises(ValidationError) as caught:
        everything(number="x", flag=2)
    assert set(caught.value.errors) == {"number", "flag"}


def test_missing_and_unknown_fields_are_refused_by_the_constructor() -> None:
    with pytest.raises(ValidationError) as caught:
        Address(country="DE", zip="1")  # type: ignore[call-arg]
    assert caught.value.errors == {
        "zip": ["Unknown field."],
        "street": ["Missing data for required field."],
    }


def test_what_a_struct_holds_is_validated_again_when_it_is_written() -> None:
    event = everything()
    event.__dict__["number"] = "not a number"
    with pytest.raises(ValidationError, match="number"):
        event.__wire__()


# -- what is read --------------------------------------------------------------------------------


def test_a_reader_ignores_unknown_fields_at_any_depth() -> None:
    wire = everything().__wire__()
    wire["new"] = 1
    wire["address"]["new"] = 1
    wire["addresses"][0]["new"] = 1
    assert EverythingHappened.__read__(wire) == everything()


def test_a_strict_reader_refuses_unknown_fields_at_any_depth() -> None:
    wire = everything().__wire__()
    assert EverythingHappened.__read_strict__(wire) == everything()
    for target in (
        wire,
        wire["address"],
        wire["addresses"][0],
        wire["structs"]["some"],
    ):
        target["typo"] = 1
        with pytest.raises(ValidationError, match=r"typo: Unknown field"):
            EverythingHappened.__read_strict__(wire)
        del target["typo"]


def test_a_strict_reader_refuses_what_is_no_object() -> None:
    for value in (None, 1, "x", [], [{}]):
        with pytest.raises(ValidationError):
            Address.__read_strict__(value)


def test_a_reader_reports_every_field() -> None:
    wire = everything().__wire__()
    wire["number"], wire["flag"] = "1", 0
    del wire["text"]
    with pytest.raises(ValidationError) as caught:
        EverythingHappened.__read__(wire)
    assert set(caught.value.errors) == {"number", "flag", "text"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", 7.5),
        ("number", 2.0**63),
        ("number", True),
        ("ratio", "1"),
        ("amount", 12.5),
        ("amount", "1_0"),
        ("amount", " 1"),
        ("amount", "\u0661"),
        ("amount", "NaN"),
        ("amount", "Infinity"),
        ("amount", "1E999999999"),
        ("amount", "9" * 5000),
        ("ident", "{0199c2f100007000800000000000001}xxx"),
        ("ident", "0199c2f1_0000_7000_8000_000000000001"),
        ("ident", "0199c2f10000700080000000000000010000"),
        ("moment", "2026-01-31T12:00:00"),
        ("moment", "2026-01-31 12:00:00Z"),
        ("moment", "2026-01-31T12:00:00123Z"),
        ("moment", "2026-02-30T12:00:00Z"),
        ("moment", "2026-01-31T12:00:00+25:00"),
        ("moment", "x" * 10_000),
        ("moment", 1767182400),
        ("day", "2026-W01-1"),
        ("day", "20260131"),
        ("day", "2026-02-30"),
        ("colour", "RED"),
        ("priority", True),
        ("priority", 1.5),
        ("address", []),
        ("numbers", {}),
        ("numbers", "12"),
        ("by_name", []),
        ("text", "\u0000"),
        ("text", "\udfff"),
    ],
)
def test_a_reader_refuses_what_another_reader_would_understand_differently(
    field: str, value: object
) -> None:
    with pytest.raises(ValidationError) as caught:
        EverythingHappened.__read__({**everything().__wire__(), field: value})
    assert set(caught.value.errors) == {field}


def test_a_json_number_without_a_fraction_is_an_integer() -> None:
    wire = {**everything().__wire__(), "number": -7.0, "priority": 2.0}
    assert EverythingHappened.__read__(wire) == everything()


def test_times_are_read_with_any_offset_and_cut_to_microseconds() -> None:
    for text in ("2026-01-31T13:00:00+01:00", "2026-01-31t12:00:00.0000009z"):
        wire = {**everything().__wire__(), "moment": text}
        assert EverythingHappened.__read__(wire).moment == NOON


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(everything().__wire__())), _json) | _json)
def test_whatever_json_comes_a_reader_raises_only_our_error(data: object) -> None:
    wire = {**everything().__wire__(), **data} if isinstance(data, dict) else data
    try:
        event = EverythingHappened.__read__(wire)
    except ValidationError:
        return
    assert sent_and_read(event) == event


# -- declarations --------------------------------------------------------------------------------


def test_defaults_are_filled_in_by_constructor_and_reader() -> None:
    class Counted(Event, name="test.counted", style="snapshot", reason="a test of lists"):
        count: int = 3
        tags: list[str] = []  # noqa: RUF012 - copied for each instance

    assert Counted().__wire__() == {"count": 3, "tags": []}
    assert Counted.__read__({}) == Counted()
    assert Counted.__read__({}).tags is not Counted.__read__({}).tags


def test_a_default_that_does_not_fit_is_refused_at_the_declaration() -> None:
    with pytest.raises(DeclarationError, match=r"Wrong\.count has the default 'three'"):

        class Wrong(Struct):
            count: int = "three"  # type: ignore[assignment]

    with pytest.raises(DeclarationError, match="may not be null"):

        class Null(Struct):
            count: int = None  # type: ignore[assignment]


def test_fields_and_defaults_are_inherited() -> None:
    class Base(Event):
        order_id: Annotated[str, fields.Text(data_key="orderId")]
        note: str = "-"

    class Extended(Base, name="test.extended", style="snapshot", reason="a test of texts"):
        extra: int
        note: str = "+"

    assert Extended(order_id="1", extra=2).__wire__() == {"orderId": "1", "note": "+", "extra": 2}
    assert Base.__event_name__ == ""


def test_a_field_given_as_an_attribute_is_inherited() -> None:
    class WithField(Event):
        code: str = fields.Text(validate=validate.Length(max=2))  # type: ignore[assignment]

    class Child(WithField, name="test.child"):
        pass

    assert Child(code="ab").code == "ab"
    with pytest.raises(ValidationError, match="code"):
        Child(code="abc")


def test_an_annotated_field_used_twice_keeps_its_defaults_apart() -> None:
    Short = Annotated[str, fields.Text(validate=validate.Length(max=2))]

    class WithDefault(Struct):
        code: Short = "xx"

    class Without(Struct):
        code: Short

    assert WithDefault().code == "xx"
    with pytest.raises(ValidationError, match="Missing data"):
        Without.__read__({})


def test_inherited_annotations_mean_what_they_mean_in_their_own_module() -> None:
    import sys
    import types

    module = types.ModuleType("other_service_events")
    sys.modules["other_service_events"] = module
    try:
        exec(  # a second module, with another class of the same name
            "from __future__ import annotations\n"
            "from eventbus import Event, Struct\n"
            "class Address(Struct):\n    planet: str\n"
            "class Base(Event):\n    address: Address\n",
            module.__dict__,
        )

        class Moved(  # type: ignore[misc, name-defined]
            module.Base, name="test.moved", style="snapshot", reason="a test of structs"
        ):
            pass

        assert Moved(address=module.Address(planet="Mars")).__wire__() == {
            "address": {"planet": "Mars"}
        }
    finally:
        del sys.modules["other_service_events"]


def test_local_classes_can_be_annotations() -> None:
    class Size(enum.Enum):
        BIG = 1

    class Local(Struct):
        size: Size

    class Sized(Event, name="test.sized", style="snapshot", reason="a test of structs"):
        local: Local

    assert Sized(local=Local(size=Size.BIG)).__wire__() == {"local": {"size": 1}}


def test_class_variables_and_private_names_are_no_fields() -> None:
    class Plain(Struct):
        version: ClassVar[int] = 2
        _hidden: int = 3
        field: str

    assert Plain(field="x").__wire__() == {"field": "x"}


def test_fields_may_have_any_name() -> None:
    class Named(Struct):
        self: str
        struct: str
        load: str
        fields: str
        Meta: str
        context: str

    values = {name: name for name in ("self", "struct", "load", "fields", "Meta", "context")}
    named = Named(**values)
    assert named.__wire__() == values
    assert Named.__read__(values) == named


@pytest.mark.parametrize(
    "annotation",
    ["int | str", "Any", "tuple[int, ...]", "set[int]", "list", "dict[int, str]", "object",
     "Struct", "Event", "bytes", "complex", "dt.timedelta", "None"],
)  # fmt: skip
def test_a_type_without_a_form_on_the_wire_is_refused(annotation: str) -> None:
    with pytest.raises(DeclarationError, match="has no form on the wire"):
        type("Odd", (Struct,), {"__annotations__": {"value": annotation}, "__module__": __name__})


def test_an_enum_without_text_or_number_is_refused() -> None:
    class Odd(enum.Enum):
        PAIR = (1, 2)

    with pytest.raises(DeclarationError, match="no value of type str or int"):

        class Wrong(Struct):
            odd: Odd


def test_a_name_that_is_not_there_is_named() -> None:
    with pytest.raises(DeclarationError, match="'Nowhere', which is not defined"):

        class Wrong(Struct):
            field: Nowhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    "name",
    ["order paid", "order\npaid", "order\tpaid", "order.#", "*.paid", "order..paid", ".order",
     "order.", "ü" * 128, "a\0b", "\ud800", "a\u200bb"],
)  # fmt: skip
def test_an_event_name_that_is_no_routing_key_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="event name"):

        class Wrong(Event, name=name):
            pass


def test_event_names_of_the_longest_kind_are_accepted() -> None:
    class Longest(Event, name="a" * 255):
        pass

    class Umlauts(Event, name="bestellung.bezahlt.für"):
        pass

    assert named_events()["bestellung.bezahlt.für"] is Umlauts
    assert named_events()["a" * 255] is Longest


def test_marks_for_other_libraries_are_no_validators() -> None:
    class Mark:
        pass

    class Marked(Struct):
        value: Annotated[int, Mark, Mark(), "text"]

    assert Marked(value=1).value == 1


# -- immutability --------------------------------------------------------------------------------


def test_an_event_cannot_be_changed() -> None:
    event = everything()
    for attempt in ("number", "new"):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(event, attempt, 1)
    with pytest.raises(AttributeError, match="immutable"):
        del event.number


def test_an_event_does_not_share_its_lists_with_its_maker() -> None:
    numbers: list[int] = [1]
    by_name = {"at": NOON}
    event = everything(numbers=numbers, by_name=by_name)
    numbers.append(2)
    by_name.clear()
    assert event.numbers == [1]
    assert event.by_name == {"at": NOON}


def test_events_can_be_copied_and_pickled() -> None:
    event = everything()
    for clone in (copy.copy(event), copy.deepcopy(event), pickle.loads(pickle.dumps(event))):
        assert clone == event
        assert hash(clone) == hash(event)
        assert clone is not event


def test_equal_events_have_equal_hashes() -> None:
    berlin = NOON.astimezone(ZoneInfo("Europe/Berlin"))
    one, other = (
        everything(amount=Decimal("1.0")),
        everything(amount=Decimal("1.00"), moment=berlin),
    )
    assert one == other
    assert hash(one) == hash(other)
    assert one != everything(number=8)
    assert one != json.dumps(one.__wire__())


def test_an_event_shows_its_fields() -> None:
    assert repr(Address(street="x")) == "Address(street='x', country='DE')"
