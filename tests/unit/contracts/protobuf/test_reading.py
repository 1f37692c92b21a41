"""Schemas from elsewhere: what is none is refused, in little time, and nothing else is read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from eventbus.contracts import Format, Schema
from eventbus.contracts.protobuf import SUPPORT
from eventbus.contracts.protobuf.compiler import Compiler
from eventbus.errors import InvalidSchema, MissingDependency

HEAD = 'syntax = "proto3";'


def schema(text: str, **references: str) -> Schema:
    return Schema(Format.PROTOBUF, text, references)


@pytest.mark.parametrize(
    "text",
    [
        "message A {",
        "{}",
        '"' * 1_000_000,
        "x" * 1_000_000,
        "/*" + "a" * 1_000_000,
        HEAD + "message A{" * 10_000 + "}" * 10_000,
        HEAD + "message A { string a = 1 [(x) = " + "{a:" * 50_000 + "}" * 50_000 + "]; }",
        HEAD + "message A { string a = 1; string b = 1; }",
        HEAD + "message A { string a = 0; }",
        HEAD + "message A { string a = 19000; }",
        HEAD + "message A { string \x1b[31m = 1; }",
        HEAD + "message A { Unknown a = 1; }",
        HEAD + "enum E { " + "".join(f"V{n} = {n};" for n in range(20_000)) + "}",
        HEAD + "message A {" + "".join(f"int32 f{n} = {n + 1};" for n in range(18_000)) + "}" * 2,
        "\ud800",
        'edition = "2099"; message A {}',
        HEAD + f"package {'.'.join('a' * 100_000)};",
    ],
    ids=range(17),
)
def test_what_is_no_schema_is_refused_soon_and_readably(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidSchema) as caught:
        SUPPORT.check(schema(text))
    assert time.monotonic() - began < 5
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_the_error_names_the_line() -> None:
    with pytest.raises(InvalidSchema, match=r"line 2:\d+: .*Missing field number"):
        SUPPORT.check(schema(HEAD + "\nmessage A { string a; }"))


@pytest.mark.parametrize("how", ["absolute", "upwards", "plain", "link"])
def test_a_schema_imports_no_file_of_this_machine(how: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.proto"
    secret.write_text(f"{HEAD} message Secret {{}}")
    link = Path("link.proto")
    name = {
        "absolute": str(secret),
        "upwards": os.path.relpath(secret, "/tmp/any/folder"),
        "plain": "secret.proto",
        "link": str(link),
    }[how]
    with pytest.raises(InvalidSchema):
        SUPPORT.check(schema(f'{HEAD} import "{name}"; message A {{ Secret s = 1; }}'))


@pytest.mark.parametrize(
    "name",
    [
        "../x.proto",
        "/etc/x.proto",
        "a/../b.proto",
        "a//b.proto",
        "",
        ".",
        "a\\b",
        "a\0b",
        "x" * 300,
    ],
)
def test_a_reference_has_a_name_inside_the_folder(name: str) -> None:
    with pytest.raises(InvalidSchema, match="cannot be imported"):
        SUPPORT.check(Schema(Format.PROTOBUF, HEAD, {name: HEAD}))


def test_a_reference_that_is_a_file_and_a_folder_is_refused_and_the_next_schema_is_read() -> None:
    with pytest.raises(InvalidSchema):
        SUPPORT.check(Schema(Format.PROTOBUF, HEAD, {"a": HEAD, "a/b": HEAD}))
    SUPPORT.check(schema(HEAD + "message Next {}"))


def test_an_import_is_what_the_reference_says() -> None:
    text = HEAD + 'import "shop/money.proto"; message A { shop.Money m = 1; }'
    money = HEAD + "package shop; message Money { int64 cents = 1; }"
    SUPPORT.check(Schema(Format.PROTOBUF, text, {"shop/money.proto": money}))
    with pytest.raises(InvalidSchema, match=r"shop/money\.proto"):
        SUPPORT.check(schema(text))


def test_no_reference_takes_the_place_of_a_well_known_type() -> None:
    text = (
        HEAD
        + 'import "google/protobuf/timestamp.proto";'
        + ("message A { google.protobuf.Timestamp at = 1; }")
    )
    other = HEAD + "package google.protobuf; message Timestamp { string text = 1; }"
    forged = Schema(Format.PROTOBUF, text, {"google/protobuf/timestamp.proto": other})
    assert SUPPORT.canonical(forged) == SUPPORT.canonical(schema(text))
    assert not SUPPORT.compare(forged, schema(text))


def test_imports_in_a_circle_are_refused() -> None:
    with pytest.raises(InvalidSchema, match="recursively"):
        SUPPORT.check(
            Schema(
                Format.PROTOBUF,
                HEAD + 'import "a.proto";',
                {"a.proto": HEAD + 'import "b.proto";', "b.proto": HEAD + 'import "a.proto";'},
            )
        )


def test_a_schema_that_takes_too_long_is_given_up_and_the_next_one_is_read() -> None:
    compiler = Compiler(time_limit_seconds=0.0001)
    with pytest.raises(InvalidSchema, match="takes more than"):
        compiler.compile(schema(HEAD))
    compiler._time_limit_seconds = 10
    assert compiler.compile(schema(HEAD))
    compiler.close()


def test_a_process_that_died_is_started_again() -> None:
    compiler = Compiler()
    compiler.compile(schema(HEAD))
    assert compiler._process is not None
    compiler._process.kill()
    compiler._process.wait()
    folder = compiler._folder
    assert compiler.compile(schema(HEAD))
    assert not os.path.exists(folder)
    compiler.close()
    assert not os.path.exists(compiler._folder)


def test_a_process_that_was_forked_has_a_compiler_of_its_own() -> None:
    compiler = Compiler()
    compiler.compile(schema(HEAD))
    child = os.fork()
    if child == 0:
        try:
            fine = bool(compiler.compile(schema(HEAD + "message Child {}")))
            compiler.close()
        finally:
            os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert compiler.compile(schema(HEAD + "message Parent {}"))
    compiler.close()


def test_without_grpcio_tools_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventbus.contracts.protobuf.compiler.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"eventbus\[protobuf\]"):
        Compiler().compile(schema(HEAD))


def test_a_schema_is_the_same_however_it_is_written() -> None:
    one = """
        // A comment.
        syntax = "proto3"; package p;
        import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
        message A { string a = 1; map<string, int64> m = 2; google.protobuf.Timestamp t = 3; }
        message B { oneof o { int32 x = 1; int32 y = 2; } } enum E { ZERO = 0; ONE = 1; }
        message C { reserved 1, 2; }
    """
    other = """
        syntax = 'proto3';
        import "google/protobuf/duration.proto"; import "google/protobuf/timestamp.proto";
        package p; message A {
          .google.protobuf.Timestamp t = 0x3; map<string,int64> m = 2;
          string a = 1 [json_name="a"]; }
        enum E { ZERO = 0; ONE = 1; } message B { oneof o { int32 y = 2; int32 x = 1; } }
        message C { reserved 1; reserved 2; }
    """
    assert SUPPORT.canonical(schema(one)) == SUPPORT.canonical(schema(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("message A { int32 a = 1; }", "message A { int64 a = 1; }"),
        ("message A { int32 a = 1; }", "message A { optional int32 a = 1; }"),
        ("message A { int32 a = 1; }", "message A { int32 b = 1; }"),
        ("message A { int32 a = 1; }", "message A { int32 a = 2; }"),
        ("message A { int32 a = 1; }", "message A { int32 a = 1 [deprecated = true]; }"),
        ("message A { int32 a = 1; }", "message A { reserved 2; int32 a = 1; }"),
        ("message A { int32 a = 1; }", 'message A { reserved "b"; int32 a = 1; }'),
        ("message A { int32 a = 1; }", 'message A { int32 a = 1 [json_name = "x"]; }'),
        # The frame says a message's type by its place.
        ("message A {} message B {}", "message B {} message A {}"),
        ("message X {} message A {} message B {}", "message X {} message B {} message A {}"),
        (
            "message X { message A {} message B {} }",
            "message X { message B {} message A {} }",
        ),
        ("package p; message A {}", "message A {}"),
        ("enum E { Z = 0; }", "enum E { Z = 0; Y = 1; }"),
        ("message A { int32 a = 1; }", "message A { oneof o { int32 a = 1; } }"),
        ("option java_package = 'a';", "option java_package = 'b';"),
    ],
)
def test_schemas_that_say_something_else_differ(one: str, other: str) -> None:
    assert SUPPORT.canonical(schema(HEAD + one)) != SUPPORT.canonical(schema(HEAD + other))
