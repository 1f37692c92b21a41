"""Which version of a contract the CloudEvents attribute ``dataschema`` names."""

from __future__ import annotations

import pytest

from eventbus.contracts.dataschema import dataschema, version_of
from eventbus.errors import UndecodableMessage


@pytest.mark.parametrize("name", ["order.paid", "order.paid.v2", "a:b.c", "zahlung.erhält", "50%"])
def test_name_and_version_come_back(name: str) -> None:
    uri = dataschema(name, 3)
    assert uri.isascii()
    assert version_of(uri, name) == 3


def test_the_usual_name_stays_as_it_is() -> None:
    assert dataschema("order.paid", 3) == "urn:eventbus:schema:order.paid:3"


def test_a_foreign_uri_says_no_version() -> None:
    assert version_of("https://example.test/schemas/order.json", "order.paid") is None


@pytest.mark.parametrize("version", ["", "x", "0", "-1", "1.5", "99999999999", "١"])
def test_a_version_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(UndecodableMessage, match="ends in no version"):
        version_of(f"urn:eventbus:schema:order.paid:{version}", "order.paid")


def test_the_contract_of_another_event_is_refused() -> None:
    with pytest.raises(UndecodableMessage, match="another event"):
        version_of("urn:eventbus:schema:order.shipped:1", "order.paid")


def test_a_long_one_is_read_and_not_kept() -> None:
    with pytest.raises(UndecodableMessage):
        version_of("urn:eventbus:schema:" + "x" * 100_000, "order.paid")
