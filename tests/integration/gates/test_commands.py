"""``eventbus schema`` as a person or a pipeline calls it: texts, JSON, and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import pytest

from eventbus.contracts.lock_files import lock_path, read_lock
from tests.integration.cli.calls import CommandLine, Done
from tests.unit.contracts.gates import test_reports
from tests.unit.contracts.gates.conftest import Shop


@pytest.fixture
def run(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Any:
    """``eventbus schema`` for the shop, in its folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Done:
        return CommandLine(capsys, shop.bus)("schema", *arguments)

    return call


def broken(shop: Shop, run: Any) -> None:
    """``total`` is locked and then removed; ``count`` of another event is added."""
    shop.event("order.paid", order_id=UUID, total=int)
    shop.event("order.sent", order_id=UUID)
    assert run("lock").code == 0
    shop.restarted(release="1.4")
    shop.handler(shop.event("order.paid", order_id=UUID))
    shop.event("order.sent", order_id=UUID, count=(int, 1))


def test_lock_says_what_it_has_written_and_then_nothing(shop: Shop, run: Any) -> None:
    shop.event(order_id=UUID)

    first, second = run("lock"), run("lock")

    assert first.code == second.code == 0
    assert "order.paid.lock.json: version 1, FULL_TRANSITIVE" in first.out
    assert second.out == "1 of 1 contracts are as they are locked\n"
    assert run("check").out == "1 event checked: nothing found\n"


def test_lock_writes_what_it_may_and_refuses_the_rest_with_4(shop: Shop, run: Any) -> None:
    broken(shop, run)

    done = run("lock")

    assert done.code == 4
    assert "order.sent.lock.json: version 2" in done.out
    assert "removing `total`" in done.out
    assert "breaks shop.billing 1.4, handler charge" in done.out
    assert "order.paid.v2" in done.out
    found = run("lock", "--json")
    assert found.code == 4
    value = json.loads(found.out)
    assert [(one["event"], one["state"], one["file"]) for one in value["locked"]] == [
        ("order.paid", "incompatible", None),
        ("order.sent", "locked", None),
    ]
    assert value["findings"][0]["rule"] == "contract-incompatible"


def test_check_names_file_line_kind_path_and_readers(shop: Shop, run: Any) -> None:
    broken(shop, run)

    done = run("check")

    assert done.code == 4
    assert ".py:" in done.out
    assert "error: order.paid: contract-incompatible" in done.out
    assert "error: order.sent: contract-changed" in done.out
    assert done.out.endswith("2 events checked: 2 errors\n")


def test_check_as_json(shop: Shop, run: Any) -> None:
    broken(shop, run)

    for arguments in (("--json",), ("--format", "json")):
        done = run("check", *arguments)
        assert done.code == 4
        value = json.loads(done.out)
        assert value["ok"] is False
        assert value["in_flight"] is None
        assert value["findings"][0]["readers"] == ["shop.billing 1.4, handler charge"]
        assert value["findings"][0]["kind"]


def test_check_as_sarif_is_valid_by_the_official_schema(shop: Shop, run: Any) -> None:
    broken(shop, run)

    done = run("check", "--format", "sarif")

    assert done.code == 4
    value = json.loads(done.out)
    jsonschema.Draft4Validator(test_reports.OFFICIAL).validate(value)
    assert len(value["runs"][0]["results"]) == 2


def test_check_as_annotations_of_github(shop: Shop, run: Any) -> None:
    broken(shop, run)

    done = run("check", "--format", "github")

    assert done.code == 4
    assert [line[:13] for line in done.out.splitlines()[:2]] == ["::error file="] * 2


def test_check_with_what_is_registered_and_under_way(shop: Shop, run: Any) -> None:
    shop.handler(shop.event(order_id=UUID))
    run("lock")

    done = run("check", "--registry", "--in-flight", "--json")

    assert done.code == 0
    assert done.json["findings"][0]["rule"] == "contract-unregistered"
    assert {place["name"] for place in done.json["in_flight"]["places"]} >= {"outbox"}
    assert run("register").code == 0
    done = run("check", "--registry", "--in-flight")
    assert "1 event checked: nothing found\n" in done.out


@pytest.mark.parametrize("text", ["", "<<<<<<< HEAD", '{"subject": "order.paid"}', "[" * 100_000])
@pytest.mark.parametrize("command", ["lock", "check", "register", "list"])
def test_a_damaged_lock_file_ends_with_2_and_its_name(
    shop: Shop, run: Any, text: str, command: str
) -> None:
    shop.event(order_id=UUID)
    run("lock")
    lock_path(shop.bus.settings.contracts, "order.paid").write_text(text)

    done = run(command)

    assert done.code == 2
    assert "order.paid.lock.json" in done.err


def test_register_says_what_it_did_and_what_it_refuses(shop: Shop, run: Any) -> None:
    assert "schema lock" in run("register").out
    broken(shop, run)

    assert "order.paid version 1: registered with id" in run("register").out
    assert "2 known" in run("register").out
    value = run("register", "--json").json
    assert value["ok"] is True
    assert {one["outcome"] for one in value["versions"]} == {"known"}


def test_register_says_who_breaks(shop: Shop, run: Any) -> None:
    shop.restarted(release="1.4")
    shop.handler(shop.event(order_id=UUID, total=int))
    run("lock", "order.paid", "--compatibility", "BACKWARD")
    run("register")
    from eventbus.contracts.gates.readers import readers_of
    from eventbus.contracts.registry import open_registry

    open_registry(shop.bus).add_readers(readers_of(shop.bus))
    shop.restarted(release="1.5")
    shop.event(order_id=UUID)
    assert run("lock").code == 0

    done = run("register")

    assert done.code == 4
    assert "removing `total` breaks shop.billing 1.4, handler charge" in done.out
    readers = run("readers", "--json").json["readers"]
    assert [(one["release"], one["state"]) for one in readers] == [("1.4", "present")]
    assert "shop.billing" in run("readers", "order.paid").out
    assert run("register", "--break-readers").code == 0


def test_a_registry_that_is_down_ends_with_3(shop: Shop, run: Any) -> None:
    shop.event(order_id=UUID)
    run("lock")
    shop.restarted(registry_url="http://127.0.0.1:1")

    for command in (["register"], ["readers"], ["list", "--registry"], ["check", "--registry"]):
        assert run(*command).code == 3, command


def test_readers_of_other_services_are_pinned(shop: Shop, run: Any) -> None:
    shop.event(order_id=UUID)
    run("lock")
    run("register")

    done = run("readers", "--pin")

    assert done.code == 0
    assert json.loads(Path(shop.bus.settings.contracts, "readers.json").read_text()) == {
        "readers": []
    }
    assert run("readers", "--pin", "order.paid").code == 2


def test_list_and_show(shop: Shop, run: Any) -> None:
    assert run("list").code == 0
    shop.event(order_id=UUID)
    run("lock")
    shop.event(order_id=UUID, count=(int, 1))
    shop.event("order.sent", order_id=UUID)

    rows = {one["event"]: one for one in run("list", "--json").json["contracts"]}

    assert rows["order.paid"]["state"] == "changed"
    assert rows["order.sent"]["state"] == "new"
    run("lock")
    run("register")
    assert run("list", "--registry", "--json").json["contracts"][0]["registered"] == 2
    for options in ([], ["--registry"]):
        assert run("show", "order.paid", "--json", *options).json["version"] == 2
        assert run("show", "order.paid@1", "--json", *options).json["versions"] == [1, 2]
        assert '"order_id": {' in run("show", "order.paid", "--version", "1", *options).out
        assert run("show", "order.payed", *options).code == 2
        assert run("show", "order.paid@7", *options).code == 2


def test_show_prints_a_protobuf_schema_as_it_is(shop: Shop, run: Any) -> None:
    shop.event(_format="protobuf", order_id=UUID)
    run("lock")

    assert "  string order_id = 1;\n" in run("show", "order.paid").out
    assert run("show", "order.paid", "--json").json["schema"].startswith("syntax")


OLD = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
NEW = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
WIDER = {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}, "required": ["a"]}


def schema_file(name: str, value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    Path(name).write_text(text)
    return name


def test_diff_of_two_files(run: Any) -> None:
    old, new = schema_file("old.json", OLD), schema_file("new.json", NEW)

    done = run("diff", old, new)

    assert done.code == 4
    assert "TYPE_CHANGED" in done.out
    assert "/properties/a" in done.out
    assert run("diff", old, old).code == 0
    value = json.loads(run("diff", old, new, "--json").out)
    assert value["compatible"] is False
    assert {one["direction"] for one in value["differences"]} == {"backward", "forward"}


def test_diff_knows_directions(run: Any) -> None:
    old, new = schema_file("old.json", OLD), schema_file("wider.json", WIDER)

    assert run("diff", old, new, "--mode", "BACKWARD").code == 0
    assert run("diff", old, new, "--mode", "forward").code == 4
    assert run("diff", old, new).code == 4
    assert run("diff", new, old, "--mode", "BACKWARD").code == 4


def test_diff_of_versions_of_a_contract(shop: Shop, run: Any) -> None:
    shop.event(order_id=UUID)
    run("lock")
    shop.event(order_id=UUID, count=(int, 1))
    run("lock")
    run("register")

    for options in ([], ["--registry"]):
        assert run("diff", "order.paid@1", "order.paid@2", *options).code == 0
        assert run("diff", "order.paid@1", "order.paid", *options).code == 0
        assert run("diff", "order.paid@1", "order.paid@3", *options).code == 2


def test_diff_takes_the_format_from_the_suffix_or_the_option(run: Any) -> None:
    avro = {"type": "record", "name": "a", "fields": []}
    assert run("diff", schema_file("a.avsc", avro), schema_file("b.avsc", avro)).code == 0
    proto = 'syntax = "proto3";\nmessage A { string a = 1; }\n'
    assert run("diff", schema_file("a.proto", proto), schema_file("b.proto", proto)).code == 0
    plain = schema_file("a.txt", avro)
    assert run("diff", plain, plain).code == 2
    assert run("diff", plain, plain, "--format", "avro").code == 0
    assert run("diff", "a.avsc", "a.proto").code == 2


def test_diff_takes_what_files_refer_to(run: Any) -> None:
    number = schema_file("number.json", {"type": "integer"})
    old = schema_file("old.json", {"$ref": "https://shop.test/number"})

    assert run("diff", old, number).code == 2
    assert run("diff", old, number, "-r", f"https://shop.test/number={number}").code == 0
    assert run("diff", old, old, "-r", "x").code == 2
    assert run("diff", old, old, "-r", "x=missing").code == 2


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("", "json"),
        ("{", "json"),
        ('{"type": 7}', "json"),
        ("[" * 100_000, "json"),
        ('{"type": "record"}', "avsc"),
        ("message {", "proto"),
        ("x" * 2_000_000, "json"),
    ],
    ids=["empty", "broken", "bad type", "nested", "no record", "no proto", "huge"],
)
def test_diff_of_rubbish_ends_with_2(run: Any, text: str, suffix: str) -> None:
    file = schema_file(f"rubbish.{suffix}", text)

    done = run("diff", file, file)

    assert done.code == 2
    assert done.err.startswith("error: ")


def test_a_folder_and_a_missing_file_are_no_schemas(run: Any, tmp_path: Path) -> None:
    assert run("diff", str(tmp_path), str(tmp_path)).code == 2
    assert "there is no file 'missing.json'" in run("diff", "missing.json", "missing.json").err


APPLICATION = """
from eventbus import Event, EventBus

class OrderPaid(Event, name="order.paid"):
    number: int{more}

bus = EventBus("shop")
"""


_CALL = "from eventbus.cli import main; main()"


def test_the_gate_in_a_pipeline(tmp_path: Path) -> None:
    """As CI has it: a process of its own, in the folder of the code, without any server."""
    environment = {name: value for name, value in os.environ.items() if "EVENTBUS" not in name}

    def schema(*arguments: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-c", _CALL, "-A", "shop", "schema", *arguments]
        return subprocess.run(
            call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    code = tmp_path / "shop.py"
    code.write_text(APPLICATION.format(more=""))
    assert schema("check").returncode == 4
    assert schema("lock").returncode == 0
    assert schema("check").returncode == 0
    found = read_lock(tmp_path / "contracts", "order.paid")
    assert found is not None
    assert found.source == "shop"
    code.write_text(APPLICATION.format(more="\n    total: int"))
    done = schema("check", "--format", "github")
    assert done.returncode == 4
    assert done.stdout.startswith("::error file=shop.py,line=4,title=")
    assert not (tmp_path / "eventbus.db").exists()
