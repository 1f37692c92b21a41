"""Who reads what, by which release, and for how long that counts."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated, Any
from uuid import UUID

import pytest

from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.gates.pinned import pinned_path, read_pinned, write_pinned
from eventbus.contracts.gates.readers import (
    REPLACED_AFTER_MS,
    STALE_AFTER_MS,
    Presence,
    called,
    presence,
    readers_of,
    release_of,
)
from eventbus.contracts.registry.port import Reader
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidLockFile

from .conftest import Shop

NOW_MS = 1_800_000_000_000


def reader(**changed: Any) -> Reader:
    given = {
        "subject": "order.paid",
        "service": "shop",
        "release": "1.4",
        "queue": "shop.billing",
        "handler": "charge",
        "schema": Schema(Format.JSON, '{"type": "object"}'),
        "seen_at_ms": NOW_MS,
    }
    return Reader(**{**given, **changed})


def test_each_handler_reads_what_its_class_says(shop: Shop) -> None:
    shop.restarted(release="1.4")
    paid = shop.event(order_id=UUID)
    shop.handler(paid)
    shop.handler(shop.event("order.shipped", order_id=UUID), "tell")

    found = readers_of(shop.bus)

    assert [called(one) for one in found] == [
        "shop.billing 1.4, handler charge",
        "shop.billing 1.4, handler tell",
    ]
    assert found[0].schema == writer_contract(paid)


def test_a_handler_of_a_pattern_reads_each_event_that_has_a_class(shop: Shop) -> None:
    shop.event("order.paid", order_id=UUID)
    shop.event("order.shipped", order_id=UUID)
    shop.event("user.named", order_id=UUID)

    def audit(event: Any) -> None: ...

    shop.bus.handler("order.*", queue="audit")(audit)

    assert [one.subject for one in readers_of(shop.bus)] == ["order.paid", "order.shipped"]


def test_a_class_without_a_contract_is_left_out(shop: Shop) -> None:
    shop.handler(shop.event(total=Annotated[int, lambda value: None]))

    assert readers_of(shop.bus) == []


def test_the_release_is_the_setting_or_the_version_of_the_installed_package(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if name == "tests":
            return "7.1"
        raise metadata.PackageNotFoundError(name)

    shop.handler(shop.event(order_id=UUID))
    assert called(readers_of(shop.bus)[0]) == "shop.billing, handler charge"
    monkeypatch.setattr(metadata, "version", version)
    assert release_of(shop.bus) == "7.1"
    shop.restarted(release="2.0")
    assert release_of(shop.bus) == "2.0"


def test_the_environment_says_the_release(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTBUS_RELEASE", "git-abc123")

    assert release_of(shop.restarted()) == "git-abc123"


@pytest.mark.parametrize(
    ("silent_ms", "others", "expected"),
    [
        (0, [], Presence.PRESENT),
        (STALE_AFTER_MS, [], Presence.PRESENT),
        (STALE_AFTER_MS + 1, [], Presence.STALE),
        (REPLACED_AFTER_MS + 1, [reader(release="1.5")], Presence.REPLACED),
        # Both run, as in a deployment that goes on for a while.
        (REPLACED_AFTER_MS, [reader(release="1.5")], Presence.PRESENT),
        (REPLACED_AFTER_MS + 1, [reader(release="1.5", queue="shop.x")], Presence.PRESENT),
        (REPLACED_AFTER_MS + 1, [reader(release="1.5", service="y")], Presence.PRESENT),
        (REPLACED_AFTER_MS + 1, [reader(handler="other")], Presence.PRESENT),
        # The registry was away: nobody could say anything.
        (
            REPLACED_AFTER_MS + 1,
            [reader(release="1.5", seen_at_ms=NOW_MS - REPLACED_AFTER_MS)],
            Presence.PRESENT,
        ),
    ],
)
def test_a_reader_counts_as_long_as_it_may_be_there(
    silent_ms: int, others: list[Reader], expected: Presence
) -> None:
    one = reader(seen_at_ms=NOW_MS - silent_ms)

    assert presence(one, [one, *others], NOW_MS) is expected


def test_pinned_readers_are_read_back(shop: Shop) -> None:
    folder = shop.bus.settings.contracts
    avro = Schema(Format.AVRO, '"string"')
    proto = Schema(Format.PROTOBUF, 'syntax = "proto3";\n\nmessage A {}\n')
    given = [
        reader(service="z", schema=avro),
        reader(subject="a.b", service="y", schema=proto),
    ]

    assert read_pinned(folder) == []
    path = write_pinned(folder, given)
    text = path.read_text()
    found = read_pinned(folder)

    assert [(one.subject, one.service, one.schema.text) for one in found] == [
        ("a.b", "y", proto.text),
        ("order.paid", "z", avro.text),
    ]
    write_pinned(folder, reversed(found))
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "no list of readers"),
        ('{"readers": 7}', "no list of readers"),
        ("{", "is no JSON"),
        ("<<<<<<< HEAD\n", "merge conflict in line 1"),
        ('{"readers": [7]}', r"readers\[0\]"),
        ('{"readers": [{"event": "a"}]}', r"readers\[0\]: 'service'"),
        (
            '{"readers": [{"event": 1, "service": "a", "release": "a", "queue": "a", "handler": '
            '"a", "format": "json", "schema": {}}]}',
            "are texts",
        ),
        (
            '{"readers": [{"event": "a", "service": "a", "release": "a", "queue": "a", "handler": '
            '"a", "format": "xml", "schema": {}}]}',
            "no schema format 'xml'",
        ),
    ],
)
def test_a_damaged_file_of_pinned_readers_is_refused(shop: Shop, text: str, said: str) -> None:
    path = pinned_path(shop.bus.settings.contracts)
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(InvalidLockFile, match=said):
        read_pinned(shop.bus.settings.contracts)
