"""The rules that an example says best; `test_every_pair` has those of types, labels and enums."""

from __future__ import annotations

import pytest

from eventbus.contracts import Format, Schema, check_compatibility, check_evolution
from eventbus.contracts.protobuf import SUPPORT
from eventbus.errors import InvalidSchema


def kinds(*, reader: str, writer: str, syntax: str = "proto3") -> set[tuple[str, str]]:
    head = f'syntax = "{syntax}";'
    found = check_compatibility(reader=head + reader, writer=head + writer, format="protobuf")
    return {(one.kind, one.path) for one in found.differences}


def test_a_reader_skips_what_it_has_no_field_for() -> None:
    more = "message A { string a = 1; int32 b = 2; }"
    assert not kinds(reader="message A { string a = 1; }", writer=more)
    assert not kinds(reader="message A { reserved 2; string a = 1; }", writer=more)
    assert not kinds(reader=more, writer='message A { reserved 2; reserved "b"; string a = 1; }')


def test_a_field_keeps_its_number() -> None:
    assert kinds(reader="message A { string a = 2; }", writer="message A { string a = 1; }") == {
        ("FIELD_RENUMBERED", "A.a")
    }


def test_two_fields_that_change_places_are_found() -> None:
    found = kinds(
        reader="message A { string a = 2; string b = 1; }",
        writer="message A { string a = 1; string b = 2; }",
    )
    assert found == {("FIELD_RENUMBERED", "A.a"), ("FIELD_RENUMBERED", "A.b")}


def test_a_field_may_get_another_name_but_not_that_of_a_field_that_was_given_up() -> None:
    assert not kinds(reader="message A { string b = 1; }", writer="message A { string a = 1; }")
    given_up = 'message A { reserved "a"; string b = 1; }'
    assert kinds(reader=given_up, writer="message A { string a = 1; }") == {
        ("NUMBER_REUSED", "A.b")
    }
    assert kinds(reader="message A { string a = 1; }", writer=given_up) == {
        ("NUMBER_REUSED", "A.a")
    }


def test_a_required_field_is_needed_also_deep_inside() -> None:
    writer = "message A { optional B b = 1; } message B { optional string c = 1; }"
    reader = (
        "message A { optional B b = 1; } message B { optional string c = 1; required int32 d = 2; }"
    )
    assert kinds(reader=reader, writer=writer, syntax="proto2") == {("FIELD_NEEDED", "A.b.d")}


def test_a_map_is_no_list_of_its_entries() -> None:
    entries = (
        "message A { repeated Entry m = 1; message Entry { string key = 1; string value = 2; } }"
    )
    as_map = "message A { map<string, string> m = 1; }"
    assert kinds(reader=as_map, writer=entries) == {("MAP_CHANGED", "A.m")}
    assert kinds(reader=entries, writer=as_map) == {("MAP_CHANGED", "A.m")}


def test_the_keys_and_values_of_maps_are_compared() -> None:
    assert not kinds(
        reader="message A { map<int64, int64> m = 1; }",
        writer="message A { map<int32, bool> m = 1; }",
    )
    assert kinds(
        reader="message A { map<int32, string> m = 1; }",
        writer="message A { map<int64, bytes> m = 1; }",
    ) == {("TYPE_CHANGED", "A.m.key"), ("TYPE_CHANGED", "A.m.value")}


def test_a_group_is_encoded_otherwise_than_a_message() -> None:
    assert kinds(
        reader="message A { optional B b = 1; } message B { optional int32 x = 1; }",
        writer="message A { optional group B = 1 { optional int32 x = 1; } }",
        syntax="proto2",
    ) == {("TYPE_CHANGED", "A.b")}


def test_another_message_or_enum_is_another_thing() -> None:
    assert kinds(
        reader="message A { C b = 1; } message C { int32 x = 1; }",
        writer="message A { B b = 1; } message B { int32 x = 1; }",
    ) == {("TYPE_NAME_CHANGED", "A.b")}


def test_a_package_may_change() -> None:
    body = "message A { B b = 1; E e = 2; } message B { int32 x = 1; } enum E { ZERO = 0; }"
    assert not kinds(reader=f"package new.place;{body}", writer=f"package old;{body}")


def test_a_message_that_may_be_an_event_is_not_lost() -> None:
    both = "message A { int32 x = 1; } message B { int32 y = 1; }"
    assert kinds(reader="message A { int32 x = 1; }", writer=both) == {("MESSAGE_REMOVED", "B")}


def test_a_part_of_an_event_may_come_and_go_with_its_field() -> None:
    with_part = "message A { int32 x = 1; B b = 2; } message B { A a = 1; }"
    without = "message A { int32 x = 1; }"
    assert not kinds(reader=without, writer=with_part)
    assert not kinds(reader=with_part, writer=without)


def test_a_oneof_that_gets_a_member_is_not_read_by_those_who_do_not_know_it() -> None:
    two = "message A { oneof o { int32 a = 1; int32 b = 2; } }"
    three = "message A { oneof o { int32 a = 1; int32 b = 2; int32 c = 3; } }"
    assert not kinds(reader=three, writer=two)
    assert kinds(reader=two, writer=three) == {("ONEOF_MEMBER_UNKNOWN", "A.o")}


def test_messages_that_hold_themselves_are_compared_once() -> None:
    tree = "message A { repeated A children = 1; map<string, A> named = 2; %s v = 3; }"
    assert not kinds(reader=tree % "int64", writer=tree % "int32")
    assert kinds(reader=tree % "int32", writer=tree % "int64") == {("TYPE_CHANGED", "A.v")}


def test_extensions_are_fields_of_what_they_extend() -> None:
    base = "message A { extensions 100 to 200; } extend A { optional %s e = 100; }"
    assert not kinds(reader=base % "int64", writer=base % "int32", syntax="proto2")
    assert kinds(reader=base % "int32", writer=base % "int64", syntax="proto2")


def test_imports_are_compared_by_what_they_say() -> None:
    text = 'syntax = "proto3"; import "money.proto"; message A { Money m = 1; }'
    old = 'syntax = "proto3"; message Money { int32 cents = 1; }'
    new = 'syntax = "proto3"; message Money { int64 cents = 1; }'
    schemas = {
        name: Schema(Format.PROTOBUF, text, {"money.proto": money})
        for name, money in (("old", old), ("new", new))
    }
    assert check_compatibility(reader=schemas["new"], writer=schemas["old"], format="protobuf")
    found = check_compatibility(reader=schemas["old"], writer=schemas["new"], format="protobuf")
    assert [(one.kind, one.path) for one in found.differences] == [("TYPE_CHANGED", "A.m.cents")]


def test_editions_are_read_as_the_syntax_that_they_say() -> None:
    edition = 'edition = "2023"; message A { int32 x = 1 [features.field_presence = IMPLICIT]; }'
    proto3 = 'syntax = "proto3"; message A { int32 x = 1; }'
    try:
        SUPPORT.check(Schema(Format.PROTOBUF, edition))
    except InvalidSchema as error:
        if "edition" not in str(error):
            raise
        pytest.skip("this protoc does not know editions")
    required = edition.replace("IMPLICIT", "LEGACY_REQUIRED")
    assert check_compatibility(reader=edition, writer=proto3, format="protobuf")
    found = check_compatibility(reader=required, writer=proto3, format="protobuf")
    assert [one.kind for one in found.differences] == ["FIELD_MAY_BE_ABSENT"]


@pytest.mark.parametrize("again", ["string b = 2;", "int32 b = 3;", "int32 other = 2;"])
def test_what_was_given_up_does_not_come_back(again: str) -> None:
    first = 'syntax = "proto3"; message A { int32 a = 1; int32 b = 2; }'
    second = 'syntax = "proto3"; message A { int32 a = 1; reserved 2; reserved "b"; }'
    third = f'syntax = "proto3"; message A {{ int32 a = 1; {again} }}'
    assert check_evolution(new=second, previous=[first], format="protobuf")
    found = check_evolution(new=third, previous=[first, second], mode="BACKWARD", format="protobuf")
    assert "RESERVED_AGAIN" in {one.kind for one in found.differences}
    assert check_evolution(new=third, previous=[first, second], mode="NONE", format="protobuf")


def test_a_field_that_comes_back_as_it_was_means_what_it_meant() -> None:
    first = 'syntax = "proto3"; message A { int32 a = 1; int32 b = 2; }'
    second = 'syntax = "proto3"; message A { int32 a = 1; reserved 2; reserved "b"; }'
    assert check_evolution(new=first, previous=[first, second], format="protobuf")
    assert not check_evolution(new=first, previous=[second], format="protobuf")


def test_a_constant_that_was_given_up_does_not_come_back() -> None:
    old = 'syntax = "proto3"; message A { E e = 1; } enum E { ZERO = 0; reserved 1; }'
    new = 'syntax = "proto3"; message A { E e = 1; } enum E { ZERO = 0; ONE = 1; }'
    found = check_evolution(new=new, previous=[old], format="protobuf")
    assert [(one.kind, one.path, one.version) for one in found.differences] == [
        ("RESERVED_AGAIN", "E.ONE", 1)
    ]


def test_what_takes_too_many_steps_is_undecided() -> None:
    def circle(length: int) -> str:
        # Two circles whose lengths have no common divisor meet in every pair of their messages.
        others = " ".join(f"optional int32 f{n} = {n};" for n in range(2, 8))
        messages = " ".join(
            f'message M{n} {{ reserved "x_eventbus"; {others} '
            f"optional M{(n + 1) % length} next = 1; }}"
            for n in range(length)
        )
        return f'syntax = "proto3"; {messages}'

    found = check_compatibility(reader=circle(211), writer=circle(223), format="protobuf")
    assert "UNDECIDED" in {one.kind for one in found.differences}
