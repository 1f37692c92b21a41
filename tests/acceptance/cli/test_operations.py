"""``db``, ``outbox``, ``events``, ``doctor``: good input, bad input, shapes of JSON."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from eventbus.database import SCHEMA_VERSION

from .conftest import ORDER, Shop

# -- db -------------------------------------------------------------------------------------------


def test_db_upgrade_and_check(bare: Shop) -> None:
    before = bare.run("db", "check")
    assert before.returncode == 4
    assert "eventbus db upgrade" in before.stderr
    assert not (bare.folder / "eventbus.db").exists()  # looking creates nothing
    url = "sqlite:///eventbus.db"
    first, second = bare.json("db", "upgrade"), bare.json("db", "upgrade")
    assert first == {"databases": [{"database": url, "version": SCHEMA_VERSION, "changed": True}]}
    assert second["databases"][0]["changed"] is False
    assert bare.json("db", "check") == {
        "ok": True,
        "databases": [{"database": url, "ok": True, "problem": None}],
    }
    assert f"version {SCHEMA_VERSION}" in bare.run("db", "check").stdout


def test_db_check_as_json_tells_the_problem_and_ends_with_4(bare: Shop) -> None:
    done = bare.run("db", "check", "--json")
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert "eventbus db upgrade" in found["databases"][0]["problem"]


def test_an_embedded_broker_of_its_own_has_its_tables_upgraded_too(bare: Shop) -> None:
    bare.environment["EVENTBUS_BROKER_URL"] = "sqlite:///broker.db"
    assert len(bare.json("db", "upgrade")["databases"]) == 2
    assert (bare.folder / "broker.db").exists()
    assert bare.json("db", "check")["ok"] is True


def test_a_folder_that_is_not_there_ends_with_3(bare: Shop) -> None:
    done = bare.run("db", "upgrade", env={"EVENTBUS_DATABASE_URL": "sqlite:////no/such/x.db"})
    assert done.returncode == 3
    assert "unable to open database file" in done.stderr


def test_a_file_that_is_no_database_ends_with_3(bare: Shop) -> None:
    (bare.folder / "eventbus.db").write_text("this is no database" * 100)
    assert bare.run("db", "check").returncode == 3


# -- events ---------------------------------------------------------------------------------------


def test_events_list_tells_who_publishes_who_consumes_and_the_fields(shop: Shop) -> None:
    (event,) = shop.json("events", "list")["events"]
    assert event == {
        "name": "order.paid",
        "publisher": "shop",
        "summary": "",
        "format": "json",
        "version": None,
        "style": "thin",
        "reason": "",
        "deprecated": "",
        "class": "shop.OrderPaid",
        "fields": [
            {"name": "order_id", "type": "uuid", "required": True, "deprecated": ""},
            {"name": "amount", "type": "integer", "required": False, "deprecated": ""},
        ],
        "handlers": [
            {"service": "shop", "name": "charge", "queue": "shop.billing"},
            {"service": "shop", "name": "book", "queue": "shop.ledger"},
        ],
    }
    assert "order.paid" in shop.run("events", "list").stdout


def test_the_catalog_of_another_service_is_added_from_its_file(shop: Shop) -> None:
    other = {
        "services": ["email"],
        "events": [],
        "consumers": [
            {
                "service": "email",
                "queue": "email.orders",
                "handler": "thank",
                "patterns": ["order.*"],
                "events": [],
            }
        ],
    }
    (shop.folder / "email.json").write_text(json.dumps(other))
    found = shop.json("events", "list", "--with", "email.json")
    assert found["services"] == ["email", "shop"]
    assert "thank" in [one["name"] for one in found["events"][0]["handlers"]]
    done = shop.run("events", "list", "--with", "nothing.json")
    assert done.returncode == 2
    assert "nothing.json cannot be read" in done.stderr


def test_the_catalog_is_written_to_a_file_and_not_over_one(shop: Shop) -> None:
    arguments = ("events", "list", "--format", "html", "-o", "events.html")
    done = shop.run(*arguments)
    assert (done.returncode, done.stdout) == (0, "")
    assert "<svg" in (shop.folder / "events.html").read_text()
    done = shop.run(*arguments)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert shop.run(*arguments, "--force").returncode == 0


def test_asyncapi_prints_a_document(shop: Shop) -> None:
    document = json.loads(shop.run("asyncapi", "--spec", "3.1").stdout)
    assert document["asyncapi"] == "3.1.0"
    assert "publish.order.paid" in document["operations"]
    done = shop.run("asyncapi", "--spec", "2.6")
    assert done.returncode == 2
    assert "3.0" in done.stderr


def test_publish_writes_one_row_and_prints_its_id(shop: Shop) -> None:
    event_id = shop.publish(1, key="customer-1")
    (row,) = shop.json("outbox", "list")["rows"]
    assert row["id"] == event_id
    assert row["key"] == "customer-1"
    shaped = shop.json("events", "publish", "order.paid", f'{{"order_id": "{ORDER}2"}}')
    assert set(shaped) == {"id", "event", "key"}


def test_publish_reads_a_file_or_the_standard_input(shop: Shop) -> None:
    data = f'{{"order_id": "{ORDER}1"}}'
    (shop.folder / "order.json").write_text(data)
    assert shop.run("events", "publish", "order.paid", "@order.json").returncode == 0
    assert shop.run("events", "publish", "order.paid", "-", stdin=data).returncode == 0
    assert shop.json("outbox", "stats")["pending"] == 2


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("order.payed", "{}", "did you mean 'order.paid'?"),
        ("order.paid", "{", "JSON: the body is not JSON"),
        ("order.paid", "", "not JSON"),
        ("order.paid", "@missing.json", "@missing.json cannot be read: No such file"),
        ("order.paid", "@.", "cannot be read: Is a directory"),
        ("order.paid", "@", "cannot be read"),
        ("order.paid", "-", "standard input: the body is not JSON"),
        ("order.paid", "[]", "not valid"),
        ("order.paid", "{}", "order_id"),
        ("order.paid", '{"order_id": "x"}', "order_id"),
        ("order.paid", f'{{"order_id": "{ORDER}1", "amuont": 5}}', "amuont"),
        ("order.paid", f'{{"order_id": "{ORDER}1", "amount": 1.5}}', "amount"),
        ("order.paid", f'{{"order_id": "{ORDER}1", "amount": NaN}}', "NaN is not JSON"),
        ("order.paid", f'{{"order_id": "{ORDER}1", "order_id": 1}}', "same key twice"),
        ("order.paid", "[" * 100_000, "nested too deeply"),
        ("order.paid\x1b[31m\n", "{}", "order.paid\\x1b[31m\\n"),
    ],
)
def test_what_cannot_be_published_ends_with_2_and_writes_nothing(
    shop: Shop, name: str, data: str, said: str
) -> None:
    done = shop.run("events", "publish", name, data)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert shop.outbox_rows() == 0


def test_a_file_that_is_no_text_and_one_that_is_too_large(shop: Shop) -> None:
    (shop.folder / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in shop.run("events", "publish", "order.paid", "@binary").stderr
    (shop.folder / "large").write_bytes(b" " * (2 * 1024 * 1024))
    done = shop.run("events", "publish", "order.paid", "@large")
    assert done.returncode == 2
    assert "at most 1048576" in done.stderr


def test_a_key_that_cannot_be_used_ends_with_2(shop: Shop) -> None:
    data = f'{{"order_id": "{ORDER}1"}}'
    for key in ("", "x" * 256):
        done = shop.run("events", "publish", "order.paid", data, "--key", key)
        assert done.returncode == 2
        assert "key=" in done.stderr


def test_publishing_without_tables_names_the_command(bare: Shop) -> None:
    done = bare.run("events", "publish", "order.paid", f'{{"order_id": "{ORDER}1"}}')
    assert done.returncode == 4
    assert "eventbus db upgrade" in done.stderr


# -- outbox ---------------------------------------------------------------------------------------


def test_outbox_stats_and_list(shop: Shop) -> None:
    event_id = shop.publish(1, key="k")
    stats = shop.json("outbox", "stats")
    assert set(stats) == {
        "pending",
        "held",
        "delayed",
        "failed",
        "oldest_age_ms",
        "logged",
        "unrouted",
    }
    assert stats["pending"] == 1
    assert stats["oldest_age_ms"] >= 0
    (row,) = shop.json("outbox", "list", "--state", "pending")["rows"]
    assert {name: row[name] for name in ("id", "event", "key", "state", "attempts", "error")} == {
        "id": event_id,
        "event": "order.paid",
        "key": "k",
        "state": "pending",
        "attempts": 0,
        "error": None,
    }
    assert row["created_at"].endswith("Z")
    assert shop.json("outbox", "list", "--state", "failed") == {"rows": []}
    assert "1  wait to be published" in shop.run("outbox", "stats").stdout


def test_an_event_without_a_queue_is_listed_as_unrouted(shop: Shop) -> None:
    event_id = shop.publish(1)
    assert shop.run("dispatcher", "--once").returncode == 0
    (row,) = shop.json("outbox", "list", "--state", "unrouted")["rows"]
    assert (row["id"], row["state"]) == (event_id, "unrouted")
    assert row["published_at"].endswith("Z")
    assert shop.json("outbox", "list", "--state", "logged")["rows"] == [row]


def test_outbox_list_shows_evil_keys_as_text_and_in_full(shop: Shop) -> None:
    evil = "\x1b[2J[red]\u202e\nforged" + "x" * 150
    shop.publish(1, key="customer-1")
    # Publishing refuses such a key; whoever writes to the table does not.
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        connection.execute("UPDATE eventbus_outbox SET partition_key = ?", (evil,))
    out = shop.run("outbox", "list").stdout
    assert "\\x1b[2J[red]\\u202e\\nforged" + "x" * 150 in out
    assert len(out.splitlines()) == 2
    assert shop.json("outbox", "list")["rows"][0]["key"] == evil


def test_the_limit_limits(shop: Shop) -> None:
    for number in range(3):
        shop.publish(number)
    assert len(shop.json("outbox", "list", "--limit", "2")["rows"]) == 2


# -- doctor ---------------------------------------------------------------------------------------


def test_doctor_says_what_to_do_until_all_is_well(bare: Shop) -> None:
    done = bare.run("doctor", "--json")
    assert done.returncode == 4
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert all(set(check) == {"check", "status", "result", "advice"} for check in found["checks"])
    (todo,) = [check for check in found["checks"] if check["status"] == "todo"]
    assert (todo["check"], todo["advice"]) == ("tables", "run 'eventbus db upgrade'")
    assert not (bare.folder / "eventbus.db").exists()
    bare.run("db", "upgrade")
    done = bare.run("doctor", "--json")
    assert done.returncode == 4
    todos = [c for c in json.loads(done.stdout)["checks"] if c["status"] == "todo"]
    assert {todo["check"] for todo in todos} == {"queues"}
    with bare.process("run") as process:
        process.wait_for("publishing", in_err=True)
        assert process.end() == 0
    done = bare.run("doctor")
    assert done.returncode == 0
    assert "SQLite" in done.stdout
    assert bare.json("doctor")["ok"] is True


def test_doctor_finds_what_contradicts_and_what_is_unsafe(shop: Shop) -> None:
    done = shop.run(
        "doctor",
        env={
            "EVENTBUS_CLAIM_LEASE": "1s",
            "EVENTBUS_IDEMPOTENCY_TTL": "1s",
            "EVENTBUS_IDEMPOTENCY_FAILURE": "continue",
        },
    )
    assert done.returncode == 4
    assert "claim_lease=1s" in done.stdout
    assert "idempotency_ttl=1s" in done.stdout
    assert "unsafe setting" in done.stdout


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("EVENTBUS_BROKER_URL", "amqp://shop:hunter2@127.0.0.1:1/"),
        ("EVENTBUS_REDIS_URL", "redis://:hunter2@127.0.0.1:1/0"),
        ("EVENTBUS_DATABASE_URL", "postgresql+psycopg://shop:hunter2@127.0.0.1:1/shop"),
    ],
)
def test_doctor_ends_with_3_when_a_server_is_away_and_looks_at_the_others(
    shop: Shop, variable: str, url: str
) -> None:
    done = shop.run("doctor", "--json", env={variable: url})
    assert done.returncode == 3
    checks = json.loads(done.stdout)["checks"]
    away = [check for check in checks if check["status"] == "unreachable"]
    assert away
    assert "127.0.0.1:1" in away[0]["result"]
    assert any(check["status"] == "ok" for check in checks)


def test_doctor_works_from_the_settings_alone(shop: Shop) -> None:
    shop.environment = {"EVENTBUS_DATABASE_URL": "sqlite:///eventbus.db"}
    found = shop.json("doctor")
    assert "application" not in {check["check"] for check in found["checks"]}


def test_the_help_works_in_any_folder(tmp_path: Path) -> None:
    done = Shop(tmp_path).run("--help")
    assert done.returncode == 0
    assert "dispatcher" in done.stdout
