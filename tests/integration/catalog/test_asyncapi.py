"""Our AsyncAPI documents against the official JSON schemas and the official parser."""

from __future__ import annotations

import datetime as dt
import enum
import json
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import jsonschema
import pytest
from marshmallow.validate import Length, Range

from eventbus import Deprecated, Event, EventBus, Places, Struct
from eventbus.catalog.asyncapi import asyncapi_document
from eventbus.errors import ConfigurationError

#: Where `make test` installs the parser.
NODE = Path(__file__).parents[3] / ".make" / "node"

VERSIONS = ("3.0", "3.1")


class Address(Struct):
    street: Annotated[str, Length(max=80)]
    country: Annotated[str, Length(equal=2)] = "DE"


class Channel(enum.Enum):
    WEB = "web"
    SHOP = "shop"


class Everything(Event, name="all.kinds", style="snapshot", reason="one field of each kind"):
    """One field of each kind.

    The second paragraph is not in the document.
    """

    id: UUID
    at: dt.datetime
    day: dt.date
    total: Annotated[Decimal, Places(2)]
    channel: Channel
    count: Annotated[int, Range(min=0, max=9)]
    ratio: float
    paid: bool
    home: Address
    addresses: Annotated[list[Address], Length(max=3)]
    labels: dict[str, str]
    note: Annotated[str, Length(max=20)] | None = None
    old: Annotated[bool, Deprecated("2027-01-01", "use paid")] = False


class InAvro(Event, name="in.avro", format="avro"):
    order_id: UUID
    at: dt.datetime
    channel: Channel


class InProtobuf(Event, name="in.protobuf", format="protobuf"):
    order_id: UUID
    at: dt.datetime
    channel: Channel


class Old(Event, name="order.old", deprecated=Deprecated("2027-01-01", "use all.kinds")):
    order_id: UUID


class Strange(Event, name="Größe.{x}/~1.ok"):
    order_id: UUID


class StrangeToo(Event, name="Größe.(x)/~1.ok"):
    order_id: UUID


class Placed(Event, name="order.placed", source="checkout"):
    """What this service reads of another's event."""

    order_id: UUID
    address: Address = Address(street="-")


class Bus(EventBus):
    """One that knows the events of this module, and not those of all tests of the process."""

    @property
    def events(self) -> dict[str, type[Event]]:
        return {name: cls for name, cls in super().events.items() if cls.__module__ == __name__}


def make_bus(**settings: Any) -> EventBus:
    bus = Bus("shop", **settings)

    @bus.handler("order.placed", queue="billing")
    def charge(event: Placed) -> None: ...

    @bus.handler("#", queue="audit")
    def note(event: Event) -> None: ...

    @bus.handler("in.*", queue="billing")
    def take(event: InAvro | InProtobuf) -> None: ...

    return bus


BROKER = "amqps://me:hunter2@one.test/orders;amqps://me:hunter2@two.test:5999/orders"


@pytest.fixture(scope="module", params=VERSIONS)
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    return asyncapi_document(make_bus(broker_url=BROKER), request.param, "1.4")


def parsed(document: dict[str, Any]) -> dict[str, Any]:
    """What the official parser says of it."""
    if not (NODE / "node_modules").is_dir() or shutil.which("node") is None:
        pytest.skip("the parser is not installed; 'make test' does it")
    done = subprocess.run(
        ["node", "validate.mjs"],
        cwd=NODE,
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def official_schema(version: str) -> dict[str, Any]:
    folder = NODE / "node_modules" / "@asyncapi" / "specs" / "schemas"
    if not folder.is_dir():
        pytest.skip("the official schemas are not installed; 'make test' does it")
    schema: dict[str, Any] = json.loads((folder / f"{version}.json").read_text())
    return schema


def references(value: Any) -> Iterator[str]:
    """Every ``$ref`` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/"), reference
    found: Any = document
    for step in reference[2:].split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_official_parser_finds_no_fault(document: dict[str, Any]) -> None:
    found = parsed(document)
    assert found["parsed"]
    newer = "asyncapi-latest-version"
    assert [one for one in found["diagnostics"] if one["code"] != newer] == []
    assert {"all.kinds", "in.avro", "in.protobuf", "order.placed"} <= {*found["messages"]}


def test_the_official_parser_would_find_one(document: dict[str, Any]) -> None:
    operation = {"action": "throw", "channel": {"$ref": "#/channels/nowhere"}}
    found = parsed({**document, "operations": {"x": operation}})
    assert [one for one in found["diagnostics"] if one["severity"] == 0]


def test_it_is_valid_by_the_official_json_schema(document: dict[str, Any]) -> None:
    schema = official_schema(document["asyncapi"])
    jsonschema.Draft7Validator(schema).validate(document)


def test_no_reference_dangles_or_leads_outside(document: dict[str, Any]) -> None:
    found = [*references(document)]
    assert "#/components/schemas/cloudEventsHeaders" in found
    for reference in found:
        assert resolve(document, reference) is not None


def test_it_says_in_which_exchange_and_queue_an_event_is(document: dict[str, Any]) -> None:
    exchange = document["channels"]["event_all.kinds"]["bindings"]["amqp"]
    assert exchange["is"] == "routingKey"
    assert exchange["exchange"]["name"] == "events"
    assert exchange["exchange"]["vhost"] == "orders"
    queue = document["channels"]["queue_shop.billing"]["bindings"]["amqp"]
    assert queue["queue"]["name"] == "shop.billing"
    assert exchange["bindingVersion"] == queue["bindingVersion"] == "0.3.0"


def test_it_sends_its_own_events_and_receives_what_its_handlers_take(
    document: dict[str, Any],
) -> None:
    operations = document["operations"]
    sent = {key for key, one in operations.items() if one["action"] == "send"}
    assert "publish.all.kinds" in sent
    assert not any("order.placed" in key for key in sent)
    assert [one["$ref"] for one in operations["handle.charge"]["messages"]] == [
        "#/channels/queue_shop.billing/messages/order.placed"
    ]
    # Both handlers of the queue together.
    assert set(document["channels"]["queue_shop.billing"]["messages"]) == {
        "order.placed",
        "in.avro",
        "in.protobuf",
    }


def test_an_own_event_is_described_as_it_is_written_and_anothers_as_it_is_read(
    document: dict[str, Any],
) -> None:
    messages = document["components"]["messages"]
    own = messages["all.kinds"]["payload"]["schema"]
    assert own["additionalProperties"] is False
    assert "note" in own["required"]
    theirs = messages["order.placed"]["payload"]["schema"]
    assert theirs.get("additionalProperties", True) is not False
    assert theirs["required"] == ["order_id"]


def test_each_format_is_named(document: dict[str, Any]) -> None:
    messages = document["components"]["messages"]
    assert "avro" in messages["in.avro"]["payload"]["schemaFormat"]
    assert "protobuf" in messages["in.protobuf"]["payload"]["schemaFormat"]
    assert messages["in.avro"]["contentType"] == "application/avro"
    assert messages["in.protobuf"]["contentType"] == "application/protobuf"


def test_deprecation_and_the_first_line_of_the_docstring_are_in_it(
    document: dict[str, Any],
) -> None:
    messages = document["components"]["messages"]
    assert messages["order.old"]["deprecated"] is True
    assert "2027-01-01" in messages["order.old"]["description"]
    assert messages["all.kinds"]["summary"] == "One field of each kind."


def test_names_that_no_key_can_hold_stay_apart(document: dict[str, Any]) -> None:
    titles = [channel["title"] for channel in document["channels"].values()]
    assert "Größe.{x}/~1.ok" in titles
    assert "Größe.(x)/~1.ok" in titles


def test_no_login_is_in_it(document: dict[str, Any]) -> None:
    assert "hunter2" not in json.dumps(document)
    hosts = [server["host"] for server in document["servers"].values()]
    assert hosts == ["one.test:5671", "two.test:5999"]
    assert {server["protocol"] for server in document["servers"].values()} == {"amqps"}


def test_without_a_broker_there_is_no_server() -> None:
    assert "servers" not in asyncapi_document(make_bus())


def test_another_version_is_refused_with_those_that_can_be_written() -> None:
    with pytest.raises(ConfigurationError, match=r"'2\.6'.*3\.0 or 3\.1"):
        asyncapi_document(make_bus(), "2.6")
