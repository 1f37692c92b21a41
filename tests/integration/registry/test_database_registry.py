"""The registry in a database: versions are numbered, checked, found again and deleted."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.engine import Engine

from eventbus.contracts import Mode, Schema
from eventbus.contracts.fingerprints import fingerprint, id_of, schema_id
from eventbus.contracts.registry import subject_state
from eventbus.contracts.registry.access import Access
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.port import Reader, Reference
from eventbus.contracts.registry.readers import READER_KEPT_MS
from eventbus.contracts.registry.refusals import (
    InvalidSubject,
    NotInSubject,
    ReadOnly,
    RefusedVersion,
    StillReferenced,
    SubjectDeleted,
    SubjectNotDeletedYet,
    UnknownId,
    UnknownSubject,
    UnknownVersion,
    VersionDeleted,
    VersionNotDeletedYet,
)
from eventbus.errors import InvalidSchema, RegistryUnavailable
from tests.integration.registry.schemas import json_schema, reader

ORDER = json_schema("order_id")
ADDRESS = json_schema("street", **{"$id": "https://example.org/address"})
WITH_ADDRESS = Schema.of(
    {"type": "object", "properties": {"address": {"$ref": "https://example.org/address"}}}, "json"
)
TO_ADDRESS = Reference("https://example.org/address", "address", 1)


def test_the_first_version_is_found_by_subject_number_id_and_text(
    registry: DatabaseRegistry,
) -> None:
    added = registry.register("order.paid", ORDER)
    assert (added.subject, added.version, added.id) == ("order.paid", 1, schema_id(ORDER))
    assert registry.subjects() == ["order.paid"]
    assert registry.versions("order.paid") == [added]
    assert registry.version("order.paid") == registry.version("order.paid", 1) == added
    assert registry.by_id(added.id) == added
    assert registry.look_up("order.paid", ORDER) == added


def test_a_schema_that_is_written_otherwise_keeps_its_version(registry: DatabaseRegistry) -> None:
    first = registry.register("order.paid", ORDER)
    value = json.loads(ORDER.text)
    written_otherwise = Schema.of(
        json.dumps(dict(reversed(list(value.items()))), indent=4), ORDER.format
    )
    assert registry.register("order.paid", written_otherwise) == first
    assert registry.look_up("order.paid", written_otherwise) == first
    assert registry.register("order.sent", written_otherwise).id == first.id
    assert registry.versions_of_id(first.id) == [("order.paid", 1), ("order.sent", 1)]


def test_what_is_not_there_is_told_apart(registry: DatabaseRegistry) -> None:
    with pytest.raises(UnknownSubject, match=r"order\.paid"):
        registry.versions("order.paid")
    with pytest.raises(UnknownSubject):
        registry.version("order.paid", 1)
    for id in (77, 0, -1, 2**31, 2**70):
        with pytest.raises(UnknownId, match=str(id)):
            registry.by_id(id)
        with pytest.raises(UnknownId):
            registry.stored_by_id(id)
        with pytest.raises(InvalidSchema, match="register it first"):
            registry.register("a", WITH_ADDRESS, [Reference(TO_ADDRESS.name, "address", id)])
    registry.register("order.paid", ORDER)
    with pytest.raises(UnknownVersion, match="version 2"):
        registry.version("order.paid", 2)
    with pytest.raises(NotInSubject):
        registry.look_up("order.paid", json_schema("other"))
    # MySQL's default collation would find it.
    with pytest.raises(UnknownSubject):
        registry.versions("ORDER.PAID")


def test_an_incompatible_schema_is_refused_with_the_readers_that_it_breaks(
    registry: DatabaseRegistry,
) -> None:
    registry.register("order.paid", json_schema("order_id", "total"))
    registry.add_readers([reader(json_schema("order_id", "total"))])
    with pytest.raises(RefusedVersion) as caught:
        registry.register("order.paid", ORDER)
    text = str(caught.value)
    assert "total" in text
    assert "breaks shop.billing 1.4, handler charge" in text
    assert "order.paid.v2" in text
    assert [one.handler for one in caught.value.broken] == ["charge"]
    assert {one.version for one in caught.value.differences} == {1}
    assert [one.version for one in registry.versions("order.paid")] == [1]
    assert not registry.check("order.paid", ORDER)
    assert registry.check("order.paid", json_schema("order_id", "total"))


def test_a_reader_that_is_not_concerned_is_not_named(registry: DatabaseRegistry) -> None:
    registry.register("order.paid", json_schema("order_id", "total"))
    open_reader = Schema.of({"type": "object"}, "json")
    registry.add_readers([reader(open_reader)])
    with pytest.raises(RefusedVersion) as caught:
        registry.register("order.paid", ORDER)
    assert "breaks" not in str(caught.value)


def test_the_subjects_mode_goes_before_the_global_one(registry: DatabaseRegistry) -> None:
    assert registry.mode() is registry.mode("order.paid") is Mode.FULL_TRANSITIVE
    registry.set_mode(Mode.BACKWARD)
    registry.set_mode(Mode.NONE, "order.paid")
    assert (registry.mode("order.paid"), registry.mode("order.sent")) == (Mode.NONE, Mode.BACKWARD)
    assert registry.clear_mode("order.paid") is Mode.NONE
    assert registry.mode("order.paid") is Mode.BACKWARD
    assert registry.clear_mode() is Mode.BACKWARD
    assert registry.mode() is Mode.FULL_TRANSITIVE


def test_versions_are_compared_with_those_that_the_mode_names(registry: DatabaseRegistry) -> None:
    registry.set_mode(Mode.NONE, "order.paid")
    first, second = json_schema("a"), Schema.of({"type": "object"}, "json")
    registry.register("order.paid", first)
    registry.register("order.paid", second)
    registry.set_mode(Mode.FORWARD, "order.paid")
    assert registry.check("order.paid", json_schema("b"))
    registry.set_mode(Mode.FORWARD_TRANSITIVE, "order.paid")
    found = registry.check("order.paid", json_schema("b"))
    assert {one.version for one in found.differences} == {1}


def test_another_format_is_no_next_version(registry: DatabaseRegistry) -> None:
    registry.register("order.paid", ORDER)
    proto = Schema.of('syntax = "proto3"; message OrderPaid { string order_id = 1; }', "protobuf")
    with pytest.raises(RefusedVersion, match="FORMAT_CHANGED"):
        registry.register("order.paid", proto)
    registry.set_mode(Mode.NONE)
    assert registry.register("order.paid", proto).version == 2


def test_numbers_in_differences_are_those_of_the_subject(registry: DatabaseRegistry) -> None:
    registry.set_mode(Mode.NONE)
    for name in "abc":
        registry.register("order.paid", json_schema(name))
    registry.delete_version("order.paid", 1)
    registry.set_mode(Mode.FULL_TRANSITIVE)
    found = registry.check("order.paid", json_schema("d"))
    assert {one.version for one in found.differences} == {2, 3}


@pytest.mark.parametrize("text", ["", "{", "null", '{"type": 5}', "[" * 100_000])
def test_what_is_no_schema_is_refused(sqlite_engine: Engine, text: str) -> None:
    registry = DatabaseRegistry(sqlite_engine)
    with pytest.raises(InvalidSchema):
        registry.register("order.paid", Schema(ORDER.format, text))
    assert registry.subjects() == []


@pytest.mark.parametrize(
    "name",
    ["", "a" * 256, "a\nb", "a\0b", " a", "a ", ":.staging:a", "__GLOBAL", "\ud800", "\u202e"],
)
def test_what_is_no_subject_is_refused(sqlite_engine: Engine, name: str) -> None:
    with pytest.raises(InvalidSubject, match="is no subject"):
        DatabaseRegistry(sqlite_engine).register(name, ORDER)


def test_any_other_name_is_kept_as_it_is(registry: DatabaseRegistry) -> None:
    names = ["a", "a/b", "übung", "%2F", "a b", "'; DROP TABLE", "x" * 255, "𝔘", "A", "ubung"]
    for name in names:
        assert registry.register(name, ORDER).version == 1
        assert registry.version(name).subject == name
    assert registry.subjects() == sorted(names)


def test_the_default_context_may_be_written_out(registry: DatabaseRegistry) -> None:
    assert registry.register(":.:order.paid", ORDER).subject == "order.paid"


# Ids.


def test_ids_are_the_same_in_every_registry(registry: DatabaseRegistry) -> None:
    other = json_schema("other")
    registry.set_mode(Mode.NONE)
    assert registry.register("b", other).id == schema_id(other)
    assert registry.register("a", ORDER).id == schema_id(ORDER)
    assert registry.highest_id() == max(schema_id(other), schema_id(ORDER))


def test_a_schema_whose_id_is_taken_gets_the_next_one(
    registry: DatabaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_state, "id_of", lambda fingerprint: 2**31 - 1)
    schemas = [json_schema(name) for name in "abc"]
    ids = [registry.register(f"s{n}", schema).id for n, schema in enumerate(schemas)]
    assert ids == [2**31 - 1, 1, 2]
    assert [registry.register("again", schemas[0]).id] == [2**31 - 1]
    assert [registry.by_id(id).schema for id in ids] == schemas


def test_an_id_fits_into_the_frame_and_is_never_zero() -> None:
    assert id_of("0" * 64) == 1
    assert id_of("f" * 64) == 2**31 - 1
    assert len(fingerprint(ORDER)) == 64


# Deleting.


def test_a_deleted_version_is_found_by_id_only(registry: DatabaseRegistry) -> None:
    registry.set_mode(Mode.NONE)
    first = registry.register("order.paid", json_schema("a"))
    registry.register("order.paid", json_schema("b"))
    assert registry.delete_version("order.paid", 1) == 1
    assert registry.numbers("order.paid") == [2]
    assert registry.numbers("order.paid", deleted=True) == [1, 2]
    with pytest.raises(UnknownVersion):
        registry.version("order.paid", 1)
    assert registry.version("order.paid", 1, deleted=True).deleted
    assert registry.by_id(first.id).schema == first.schema
    with pytest.raises(NotInSubject):
        registry.look_up("order.paid", first.schema)
    assert registry.look_up("order.paid", first.schema, deleted=True).version == 1
    with pytest.raises(VersionDeleted):
        registry.delete_version("order.paid", 1)


def test_a_schema_that_was_deleted_becomes_a_new_version(registry: DatabaseRegistry) -> None:
    first = registry.register("order.paid", ORDER)
    registry.delete_version("order.paid")
    again = registry.register("order.paid", ORDER)
    assert (again.version, again.id) == (2, first.id)


def test_only_what_is_deleted_can_be_deleted_for_good(registry: DatabaseRegistry) -> None:
    added = registry.register("order.paid", ORDER)
    with pytest.raises(VersionNotDeletedYet):
        registry.delete_version("order.paid", 1, permanent=True)
    with pytest.raises(SubjectNotDeletedYet):
        registry.delete_subject("order.paid", permanent=True)
    registry.delete_version("order.paid", 1)
    registry.delete_version("order.paid", 1, permanent=True)
    with pytest.raises(UnknownId):
        registry.by_id(added.id)
    assert registry.subjects(deleted=True) == []


def test_a_schema_stays_as_long_as_one_subject_has_it(registry: DatabaseRegistry) -> None:
    added = registry.register("order.paid", ORDER)
    registry.register("order.sent", ORDER)
    registry.delete_subject("order.paid")
    registry.delete_subject("order.paid", permanent=True)
    assert registry.by_id(added.id).subject == "order.sent"


def test_a_deleted_subject_is_gone_with_its_settings(registry: DatabaseRegistry) -> None:
    registry.set_mode(Mode.NONE, "order.paid")
    for name in "ab":
        registry.register("order.paid", json_schema(name))
    assert registry.delete_subject("order.paid") == [1, 2]
    assert registry.subjects() == []
    assert registry.subjects(live=False, deleted=True) == ["order.paid"]
    assert registry.mode("order.paid") is Mode.FULL_TRANSITIVE
    with pytest.raises(SubjectDeleted):
        registry.delete_subject("order.paid")
    assert registry.delete_subject("order.paid", permanent=True) == [1, 2]
    with pytest.raises(UnknownSubject):
        registry.delete_subject("order.paid")


# References.


def test_a_schema_is_read_with_what_it_refers_to(registry: DatabaseRegistry) -> None:
    address = registry.register("address", ADDRESS)
    order = registry.register("order", WITH_ADDRESS, [TO_ADDRESS])
    assert order.references == (TO_ADDRESS,)
    assert order.schema.references == {TO_ADDRESS.name: ADDRESS.text}
    assert registry.by_id(order.id) == registry.version("order") == order
    assert registry.look_up("order", WITH_ADDRESS, [TO_ADDRESS]) == order
    assert registry.referenced_by("address", 1) == [order.id]
    assert registry.referenced_by("order", 1) == []
    assert order.id != address.id


def test_what_is_referred_to_must_be_there(registry: DatabaseRegistry) -> None:
    with pytest.raises(InvalidSchema, match="'address' version 1"):
        registry.register("order", WITH_ADDRESS, [TO_ADDRESS])
    registry.register("address", ADDRESS)
    registry.delete_subject("address")
    with pytest.raises(InvalidSchema, match="register it first"):
        registry.register("order", WITH_ADDRESS, [TO_ADDRESS])


def test_texts_without_subjects_are_no_references(registry: DatabaseRegistry) -> None:
    loose = Schema(WITH_ADDRESS.format, WITH_ADDRESS.text, {TO_ADDRESS.name: ADDRESS.text})
    with pytest.raises(InvalidSchema, match="register those first"):
        registry.register("order", loose)


def test_what_is_referred_to_cannot_be_deleted(registry: DatabaseRegistry) -> None:
    registry.register("address", ADDRESS)
    registry.register("order", WITH_ADDRESS, [TO_ADDRESS])
    for delete in (registry.delete_version, registry.delete_subject):
        with pytest.raises(StillReferenced):
            delete("address")
    registry.delete_subject("order")
    registry.delete_subject("address")
    with pytest.raises(StillReferenced):
        # The deleted schema is still found by its id, and needs it.
        registry.delete_subject("address", permanent=True)
    registry.delete_subject("order", permanent=True)
    registry.delete_subject("address", permanent=True)


# Access.


def test_a_registry_that_is_read_only_takes_nothing(registry: DatabaseRegistry) -> None:
    added = registry.register("order.paid", ORDER)
    registry.set_access(Access.READONLY)
    for attempt in (
        lambda: registry.register("order.sent", ORDER),
        lambda: registry.delete_version("order.paid"),
        lambda: registry.delete_subject("order.paid"),
        lambda: registry.set_mode(Mode.NONE, "order.paid"),
    ):
        with pytest.raises(ReadOnly, match="READONLY"):
            attempt()
    # A deploy that brings nothing new goes through.
    assert registry.register("order.paid", ORDER) == added
    registry.set_access(Access.READWRITE, "order.sent")
    assert registry.register("order.sent", ORDER).version == 1
    assert registry.clear_access() is Access.READONLY
    assert registry.access() is Access.READWRITE


# Readers.


def test_a_reader_replaces_what_it_said_before(registry: DatabaseRegistry) -> None:
    registry.add_readers([reader(ORDER), reader(ORDER, release="1.5")])
    registry.add_readers([reader(json_schema("a"), seen_at_ms=2_000)])
    assert registry.readers("order.paid") == [
        reader(ORDER, release="1.5"),
        reader(json_schema("a"), seen_at_ms=2_000),
    ]
    assert registry.readers("order.sent") == []


def test_a_release_that_nobody_has_started_for_long_is_forgotten(
    registry: DatabaseRegistry,
) -> None:
    registry.add_readers([reader(ORDER)])
    new = reader(ORDER, release="2.0", seen_at_ms=1_001 + READER_KEPT_MS)
    registry.add_readers([new])
    assert registry.readers("order.paid") == [new]


def test_a_reader_without_a_name_is_refused(registry: DatabaseRegistry) -> None:
    nobody = Reader("order.paid", "", "1", "shop.billing", "charge", ORDER, 0)
    with pytest.raises(InvalidSchema, match="service"):
        registry.add_readers([nobody])


@pytest.mark.parametrize("text", ["\0", "\ud800"])
def test_a_reader_whose_schema_no_database_keeps_is_refused(
    registry: DatabaseRegistry, text: str
) -> None:
    with pytest.raises(InvalidSchema):
        registry.add_readers([reader(Schema(ORDER.format, text))])
    # References are kept in JSON, which escapes both.
    registry.add_readers([reader(Schema(ORDER.format, "{}", {text: text}))])
    assert registry.readers("order.paid")[0].schema.references == {text: text}


def test_a_database_that_is_away_is_a_registry_that_is_away() -> None:
    from eventbus.database import make_engine

    away = DatabaseRegistry(make_engine("postgresql+psycopg://app:s3cret@127.0.0.1:1/shop"))
    with pytest.raises(RegistryUnavailable) as caught:
        away.subjects()
    assert "s3cret" not in str(caught.value)
