"""What confluent_kafka's serialisers write is read, and its deserialisers read what we write."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from eventbus import Event, database
from eventbus.contracts.derivation import writer_contract
from eventbus.contracts.protobuf.compiled import contract_of
from eventbus.contracts.registry import open_registry
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.contracts.schema import Format, Schema
from eventbus.message import CONTRACT_HEADER, PATH_HEADER, Message
from tests.integration.handling.conftest import MakeBus, Shop
from tests.waiting import wait_until

pytest.importorskip("confluent_kafka.schema_registry")
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONSerializer
from confluent_kafka.schema_registry.protobuf import (
    ProtobufDeserializer,
    ProtobufSerializer,
)
from confluent_kafka.serialization import MessageField, SerializationContext

VALUE = SerializationContext("orders", MessageField.VALUE)
NOW = dt.datetime(2026, 11, 24, 9, 30, tzinfo=dt.timezone.utc)

AVRO = {
    "type": "record",
    "name": "Order",
    "namespace": "com.example",
    "fields": [
        {"name": "unknown_here", "type": {"type": "map", "values": "double"}},
        {"name": "order_id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "count", "type": "int"},
    ],
}
JSON = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Order",
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "count": {"type": "integer"}},
}
PROTO = """
syntax = "proto3";
package example;
message Other { string text = 1; }
message Outer {
  map<string, string> labels = 1;
  message Order { string order_id = 3; int64 count = 9; }
}
"""


class Received(Event, name="order.received", source="elsewhere"):
    """What this service uses of the foreign event."""

    order_id: UUID
    count: int = 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """A registry with a database of its own."""
    engine = database.make_engine(f"sqlite:///{tmp_path / 'registry.db'}")
    database.upgrade(engine)
    server = RegistryServer(RegistryApplication(DatabaseRegistry(engine), Guard()), "127.0.0.1", 0)
    server.start()
    yield server
    server.close()
    engine.dispose()


@pytest.fixture
def client(server: RegistryServer) -> Iterator[SchemaRegistryClient]:
    """Their client of it."""
    with SchemaRegistryClient({"url": server.address}) as client:
        yield client


def message_class(text: str, name: str) -> Any:
    """The class that protoc would generate."""
    descriptors = contract_of(Schema(Format.PROTOBUF, text)).descriptors
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def avro_body(client: SchemaRegistryClient, data: dict[str, Any]) -> bytes:
    written: bytes = AvroSerializer(client, json.dumps(AVRO))({**data, "unknown_here": {}}, VALUE)
    return written


def json_body(client: SchemaRegistryClient, data: dict[str, Any]) -> bytes:
    written: bytes = JSONSerializer(json.dumps(JSON), client)(data, VALUE)
    return written


def protobuf_body(client: SchemaRegistryClient, data: dict[str, Any]) -> bytes:
    order = message_class(PROTO, "example.Outer.Order")
    serialise = ProtobufSerializer(order, client, {"use.deprecated.format": False})
    written: bytes = serialise(order(**data), VALUE)
    return written


@pytest.mark.parametrize(
    ("content_type", "body_of"),
    [
        ("application/avro", avro_body),
        ("application/vnd.apache.avro", avro_body),
        ("application/json", json_body),
        ("application/x-protobuf", protobuf_body),
    ],
)
def test_their_messages_are_read(
    make_shop: MakeBus,
    server: RegistryServer,
    client: SchemaRegistryClient,
    content_type: str,
    body_of: Any,
) -> None:
    shop = make_shop(registry_url=server.address)
    handled: list[Received] = []

    @shop.bus.handler(Received, queue="billing")
    def take(event: Received) -> None:
        handled.append(event)

    one = uuid4()
    with shop.running():
        send(shop, body_of(client, {"order_id": str(one), "count": 3}), content_type)
        wait_until(lambda: handled, 15, "the handled event")
        send(shop, body_of(client, {"order_id": "no uuid", "count": 3}), content_type)
        [parked] = shop.parked("billing")
    assert handled == [Received(order_id=one, count=3)]
    assert parked.headers[PATH_HEADER] == "$.order_id"
    if content_type != "application/json":
        assert parked.headers[CONTRACT_HEADER] == "orders-value version 1"


def send(shop: Shop, body: bytes, content_type: str) -> None:
    """As a foreign producer does, with the attributes that every CloudEvent has."""
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": str(uuid4()),
        "cloudEvents_source": "elsewhere",
        "cloudEvents_type": "order.received",
    }
    publisher = shop.bus.broker.publisher("a stranger")
    try:
        publisher.wait_ready(30)
        message = Message(body, "order.received", headers, content_type=content_type)
        publisher.publish([message]).result(30)
    finally:
        publisher.close()


@pytest.mark.parametrize("format", ["avro", "protobuf"])
def test_our_messages_are_read_by_them(
    make_shop: MakeBus, server: RegistryServer, client: SchemaRegistryClient, format: str
) -> None:
    class Paid(Event, name="order.paid", format=format):
        order_id: UUID
        paid_at: dt.datetime
        count: int

    shop = make_shop(registry_url=server.address)
    contract = writer_contract(Paid)
    open_registry(shop.bus).register("order.paid", contract)

    @shop.bus.handler(Paid, queue="billing")
    def charge(event: Paid) -> None:
        raise ValueError("it is to be parked")

    sent = Paid(order_id=uuid4(), paid_at=NOW, count=-5)
    with shop.running():
        shop.publish(sent)
        [parked] = shop.parked("billing")
    if format == "avro":
        found = AvroDeserializer(client)(parked.body, VALUE)
        assert found == {"order_id": sent.order_id, "paid_at": NOW, "count": -5} or found == {
            "order_id": str(sent.order_id),
            "paid_at": NOW,
            "count": -5,
        }
        return
    name = contract_of(contract).roots[0]
    order = message_class(contract.text, name)
    read = ProtobufDeserializer(order, {"use.deprecated.format": False}, client)
    found = read(parked.body, VALUE)
    assert (found.order_id, found.count) == (str(sent.order_id), -5)
    assert found.paid_at.ToDatetime(dt.timezone.utc) == NOW
