"""A .proto file from its descriptor: the same, or none."""

from __future__ import annotations

import base64

import pytest
from google.protobuf import api_pb2, descriptor_pb2, struct_pb2, type_pb2

from eventbus.contracts.protobuf import SUPPORT
from eventbus.contracts.protobuf.printing import is_serialized, serialized_of, text_of
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import InvalidSchema

_PROTO3 = """
syntax = "proto3";
package shop.v1;
import public "google/protobuf/timestamp.proto";
option java_package = "x.y\\"ü\\\\";
message Address { string street = 1; }
message Order {
  message Before { string a = 1; }
  map<string, Before> things = 9;
  message Between { int32 x = 1; }
  map<int32, string> others = 10;
  optional string id = 1 [deprecated = true];
  repeated int64 n = 2 [packed = false];
  oneof pay { string card = 3; Address cash = 4; }
  google.protobuf.Timestamp at = 5 [json_name = "when"];
  enum State {
    option allow_alias = true;
    UNKNOWN = 0; OPEN = 1; OPENED = 1;
    reserved 5 to 7; reserved "OLD";
  }
  State state = 6;
  reserved 20, 30 to max;
  reserved "foo";
}
service Orders { rpc Get(Order) returns (stream Address) { option deprecated = true; } }
"""
_PROTO2 = """
syntax = "proto2";
package shop;
message M {
  required int32 a = 1 [default = 5];
  optional string s = 2 [default = "x\\"\\n"];
  optional bytes b = 3 [default = "\\001z"];
  repeated group G = 4 { optional int32 q = 1; }
  optional float f = 5 [default = -inf];
  extensions 100 to 199, 300;
}
extend M { optional int32 e = 100; }
"""
_EDITION = """
edition = "2023";
package shop;
option features.field_presence = IMPLICIT;
message M {
  int32 a = 1 [features.field_presence = LEGACY_REQUIRED];
  reserved foo;
  M m = 3 [features.message_encoding = DELIMITED];
}
"""


@pytest.mark.parametrize("text", [_PROTO3, _PROTO2, _EDITION])
def test_a_descriptor_becomes_the_file_that_it_comes_from(text: str) -> None:
    try:
        SUPPORT.check(Schema(Format.PROTOBUF, text))
    except InvalidSchema as error:
        if "edition" not in str(error):
            raise
        pytest.skip("this protoc does not know editions")
    serialized = serialized_of(Schema(Format.PROTOBUF, text))
    assert is_serialized(serialized)
    assert not is_serialized(text)
    written = text_of(serialized, {})
    assert not is_serialized(written)
    assert serialized_of(Schema(Format.PROTOBUF, written)) == serialized


@pytest.mark.parametrize("module", [descriptor_pb2, api_pb2, struct_pb2, type_pb2])
def test_what_generated_code_carries_becomes_a_file(module: object) -> None:
    data = module.DESCRIPTOR.serialized_pb  # type: ignore[attr-defined]
    assert "message " in text_of(base64.b64encode(data).decode(), {})


def test_an_option_that_only_its_source_can_name_is_refused() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto3")
    file.message_type.add(name="M")
    # Field 50000 of MessageOptions: somebody's extension.
    file.message_type[0].options.MergeFromString(b"\x80\xb5\x18\x01")
    with pytest.raises(InvalidSchema, match="without loss"):
        text_of(base64.b64encode(file.SerializeToString()).decode(), {})


@pytest.mark.parametrize(
    "serialized", ["AAAA", "CgAA", "A" * 5, "/w==", base64.b64encode(b"\xff" * 99).decode()]
)
def test_what_is_no_descriptor_is_refused(serialized: str) -> None:
    with pytest.raises(InvalidSchema):
        text_of(serialized, {})


def test_a_name_in_a_descriptor_cannot_add_to_the_file() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto3")
    file.message_type.add(name="M {} message N")
    with pytest.raises(InvalidSchema):
        text_of(base64.b64encode(file.SerializeToString()).decode(), {})
