"""The real client of another vendor, and its serialisers, against our server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from eventbus.contracts import Mode
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.server.application import RegistryApplication
from eventbus.contracts.registry.server.guard import Guard
from eventbus.contracts.registry.server.listening import RegistryServer
from eventbus.contracts.wire.frame import unframe, unframe_protobuf
from tests.integration.registry.schemas import avro_text, json_schema

confluent = pytest.importorskip("confluent_kafka.schema_registry")
from confluent_kafka.schema_registry import (  # noqa: E402
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    SchemaRegistryError,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer  # noqa: E402
from confluent_kafka.schema_registry.json_schema import (  # noqa: E402
    JSONDeserializer,
    JSONSerializer,
)
from confluent_kafka.schema_registry.protobuf import (  # noqa: E402
    ProtobufDeserializer,
    ProtobufSerializer,
)
from confluent_kafka.serialization import MessageField, SerializationContext  # noqa: E402

AVRO = Schema(avro_text("order_id"), "AVRO")
TOKEN = "a-token-of-these-tests"
VALUE = SerializationContext("orders", MessageField.VALUE)


@pytest.fixture
def client(server: RegistryServer) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": server.address}) as client:
        yield client


def refusal(call: Any, *arguments: Any) -> tuple[int, int]:
    """HTTP status and code that the registry refuses it with."""
    with pytest.raises(SchemaRegistryError) as caught:
        call(*arguments)
    return caught.value.http_status_code, caught.value.error_code


def test_a_schema_is_registered_and_found_in_every_way(client: SchemaRegistryClient) -> None:
    id = client.register_schema("orders-value", AVRO)
    assert client.register_schema("orders-value", AVRO) == id
    assert client.get_schema(id).schema_str == AVRO.schema_str
    found = client.lookup_schema("orders-value", AVRO)
    assert (found.schema_id, found.version, found.subject) == (id, 1, "orders-value")
    assert client.get_version("orders-value", 1).schema_id == id
    assert client.get_latest_version("orders-value").version == 1
    assert client.get_versions("orders-value") == [1]
    assert client.get_subjects() == ["orders-value"]
    assert client.get_subjects_by_schema_id(id) == ["orders-value"]
    assert [(v.subject, v.version) for v in client.get_schema_versions(id)] == [("orders-value", 1)]
    assert set(client.get_schema_types()) == {"AVRO", "JSON", "PROTOBUF"}
    assert client.get_contexts() == ["."]


def test_what_is_not_there_has_the_codes_of_the_original(client: SchemaRegistryClient) -> None:
    assert refusal(client.get_version, "nope", 1) == (404, 40401)
    assert refusal(client.get_schema, 5) == (404, 40403)
    client.register_schema("orders-value", AVRO)
    assert refusal(client.get_version, "orders-value", 7) == (404, 40402)
    other = Schema(avro_text("other"), "AVRO")
    assert refusal(client.lookup_schema, "orders-value", other) == (404, 40403)
    assert refusal(client.register_schema, "x", Schema("{", "AVRO")) == (422, 42201)
    assert refusal(client.set_compatibility, "orders-value", "SOMETIMES") == (422, 42203)
    assert refusal(client.get_compatibility, "orders-value") == (404, 40408)
    assert refusal(client.get_mode, "orders-value") == (404, 40409)
    assert refusal(client.update_mode, "orders-value", "IMPORT") == (422, 42204)


def test_an_incompatible_schema_is_refused(client: SchemaRegistryClient) -> None:
    client.register_schema("orders-value", AVRO)
    more = Schema(avro_text("order_id", "total"), "AVRO")
    assert client.test_compatibility("orders-value", more) is False
    assert client.test_compatibility_all_versions("orders-value", more) is False
    assert refusal(client.register_schema, "orders-value", more) == (409, 409)
    client.set_compatibility("orders-value", "FORWARD")
    assert client.get_compatibility("orders-value") == "FORWARD"
    assert client.test_compatibility("orders-value", more) is True
    assert client.register_schema("orders-value", more) > 0
    assert client.get_versions("orders-value") == [1, 2]


def test_deleting_takes_two_steps(client: SchemaRegistryClient) -> None:
    id = client.register_schema("orders-value", AVRO)
    assert refusal(client.delete_version, "orders-value", 1, True) == (404, 40407)
    assert client.delete_version("orders-value", 1) == 1
    assert refusal(client.delete_version, "orders-value", 1) == (404, 40406)
    client.clear_caches()
    assert client.get_schema(id).schema_str == AVRO.schema_str
    assert client.get_subjects(deleted=True) == ["orders-value"]
    assert client.get_versions("orders-value", deleted=True) == [1]
    assert refusal(client.delete_subject, "orders-value") == (404, 40404)
    assert client.delete_subject("orders-value", permanent=True) == [1]
    client.clear_caches()
    assert refusal(client.get_schema, id) == (404, 40403)


def test_a_schema_may_refer_to_another(client: SchemaRegistryClient) -> None:
    client.register_schema("address", Schema(avro_text("street", name="Address"), "AVRO"))
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "address", "type": "shop.Address"}],
    }
    reference = SchemaReference("shop.Address", "address", 1)
    id = client.register_schema("order", Schema(json.dumps(order), "AVRO", [reference]))
    assert client.get_referenced_by("address", 1) == [id]
    assert client.get_version("order", 1).schema.references == [reference]
    assert refusal(client.delete_version, "address", 1) == (422, 42206)


def test_modes_are_read_and_set(client: SchemaRegistryClient) -> None:
    assert client.get_global_mode() == "READWRITE"
    assert client.update_mode("orders-value", "READONLY") == "READONLY"
    assert refusal(client.register_schema, "orders-value", AVRO) == (422, 42205)
    assert client.delete_mode("orders-value") == "READONLY"
    assert client.register_schema("orders-value", AVRO) > 0


@pytest.mark.parametrize("subject", ["a/b", "a b", "ü", "a%2Fb", "a:b", "a?b", "a#b"])
def test_a_subject_may_have_any_name(client: SchemaRegistryClient, subject: str) -> None:
    client.register_schema(subject, AVRO)
    assert client.get_subjects() == [subject]
    assert client.get_latest_version(subject).subject == subject


def test_without_the_token_nothing_is_answered(served: DatabaseRegistry) -> None:
    server = RegistryServer(RegistryApplication(served, Guard(TOKEN)), "127.0.0.1", 0)
    server.start()
    try:
        for login, code in ((None, 401), ("user:wrong-token-of-16", 401), (f"user:{TOKEN}", 200)):
            options = {"url": server.address}
            if login:
                options["basic.auth.user.info"] = login
            with SchemaRegistryClient(options) as client:
                if code == 200:
                    assert client.get_subjects() == []
                else:
                    assert refusal(client.get_subjects) == (401, 40101)
    finally:
        server.close()


# Serialisers: their frames are ours.


def test_an_avro_message_goes_there_and_back(
    client: SchemaRegistryClient, served: DatabaseRegistry
) -> None:
    data = {"order_id": "o-1"}
    message = AvroSerializer(client, AVRO.schema_str)(data, VALUE)
    id, payload = unframe(message)
    found = served.by_id(id)
    assert (found.subject, found.schema.text) == ("orders-value", AVRO.schema_str)
    assert payload == b"\x06o-1"
    assert AvroDeserializer(client)(message, VALUE) == data


def test_a_json_message_goes_there_and_back(
    client: SchemaRegistryClient, served: DatabaseRegistry
) -> None:
    text = json_schema("order_id", title="OrderPaid").text
    data = {"order_id": "o-1"}
    message = JSONSerializer(text, client)(data, VALUE)
    id, payload = unframe(message)
    assert served.by_id(id).schema.text == text
    assert json.loads(payload) == data
    assert JSONDeserializer(text, schema_registry_client=client)(message, VALUE) == data


def test_a_message_of_an_older_writer_is_read(
    client: SchemaRegistryClient, served: DatabaseRegistry
) -> None:
    old = AvroSerializer(client, AVRO.schema_str)({"order_id": "o-1"}, VALUE)
    served.set_mode(Mode.BACKWARD)
    newer = json.loads(AVRO.schema_str)
    newer["fields"].append({"name": "note", "type": "string", "default": "none"})
    text = json.dumps(newer)
    client.register_schema("orders-value", Schema(text, "AVRO"))
    read = AvroDeserializer(client, text)(old, VALUE)
    assert read == {"order_id": "o-1", "note": "none"}


_COMMON = 'syntax = "proto3"; package shop; message Address { string street = 1; }'
_ORDER = """
syntax = "proto3";
package shop;
import "common.proto";
import "google/protobuf/timestamp.proto";
message Other { string text = 1; }
message Order {
  string order_id = 1;
  Address address = 2;
  map<string, int32> counts = 3;
  google.protobuf.Timestamp paid_at = 4;
}
"""


def message_class(tmp_path: Path) -> Any:
    """What protoc makes of two files."""
    (tmp_path / "common.proto").write_text(_COMMON)
    (tmp_path / "order.proto").write_text(_ORDER)
    output = tmp_path / "set"
    options = (f"-I{tmp_path}", "--include_imports", f"--descriptor_set_out={output}")
    command = (sys.executable, "-m", "grpc_tools.protoc", *options, "order.proto")
    subprocess.run(command, check=True)
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(output.read_bytes()).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))


def test_a_protobuf_message_goes_there_and_back(
    client: SchemaRegistryClient, served: DatabaseRegistry, tmp_path: Path
) -> None:
    order = message_class(tmp_path)
    data = order(order_id="o-1", counts={"a": 1})
    data.address.street = "High Street"
    serialise = ProtobufSerializer(order, client, {"use.deprecated.format": False})
    message = serialise(data, VALUE)
    id, indexes, payload = unframe_protobuf(message)
    assert indexes == (1,)
    assert order.FromString(payload) == data
    registered = served.by_id(id)
    # The client has sent descriptors; whoever looks at the registry sees the files.
    assert "message Order {" in registered.schema.text
    assert "message Address {" in registered.schema.references["common.proto"]
    client.clear_caches()
    read = ProtobufDeserializer(order, {"use.deprecated.format": False}, client)(message, VALUE)
    assert read == data
