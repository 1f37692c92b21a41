"""Another real client, python-schema-registry-client, against our server."""

from __future__ import annotations

import pytest

from eventbus.contracts.registry.server.listening import RegistryServer
from tests.integration.registry.schemas import avro_text, json_schema

library = pytest.importorskip("schema_registry.client")
from schema_registry.client.schema import AvroSchema, JsonSchema  # noqa: E402

ORDER = AvroSchema(avro_text("order_id"))
MORE = AvroSchema(avro_text("order_id", "total"))


@pytest.fixture
def client(server: RegistryServer) -> library.SchemaRegistryClient:
    return library.SchemaRegistryClient(url=server.address)


def test_a_schema_is_registered_checked_found_and_deleted(
    client: library.SchemaRegistryClient,
) -> None:
    id = client.register("orders-value", ORDER)
    assert client.get_subjects() == ["orders-value"]
    assert client.get_by_id(id).name == "shop.OrderPaid"
    found = client.get_schema("orders-value")
    assert (found.schema_id, found.version) == (id, 1)
    assert client.get_versions("orders-value") == [1]
    assert client.check_version("orders-value", ORDER).version == 1
    assert client.check_version("orders-value", MORE) is None
    assert client.test_compatibility("orders-value", MORE) is False
    assert client.update_compatibility("NONE", "orders-value")
    assert client.get_compatibility("orders-value") == "NONE"
    assert client.test_compatibility("orders-value", MORE) is True
    assert client.register("orders-value", MORE) != id
    assert client.get_schema("nope") is None
    assert client.delete_version("orders-value", 1) == 1
    assert client.delete_subject("orders-value") == [2]


def test_an_incompatible_schema_raises(client: library.SchemaRegistryClient) -> None:
    client.register("orders-value", ORDER)
    with pytest.raises(library.errors.ClientError) as caught:
        client.register("orders-value", MORE)
    assert caught.value.http_code == 409


def test_json_schemas_are_registered_as_such(client: library.SchemaRegistryClient) -> None:
    schema = JsonSchema(json_schema("order_id").text)
    id = client.register("orders-value", schema)
    assert client.get_by_id(id).schema_type == "JSON"
