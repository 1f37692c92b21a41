"""``queue``: who has paused what, said twice, by whatever name; bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventbus import tables
from eventbus.database import reading

from .calls import CommandLine, make_bus


def test_pause_and_resume_are_idempotent(eventbus: CommandLine) -> None:
    first = eventbus("queue", "pause", "billing", "--reason", "why")
    assert first.out == "shop.billing: paused; workers stop consuming it within 2 s\n"
    second = eventbus("queue", "pause", "shop.billing", "billing", "--reason", "other")
    assert second.code == 0
    assert "shop.billing: was paused already since" in second.out
    assert second.out.endswith(": why\n")
    assert eventbus("queue", "pause", "billing", "--json").json["queues"][0]["changed"] is False
    assert eventbus("queue", "resume", "billing").out == "shop.billing: goes on\n"
    again = eventbus("queue", "resume", "billing")
    assert (again.code, again.out) == (0, "shop.billing: was not paused\n")


def test_who_has_paused_and_resumed_is_recorded(eventbus: CommandLine) -> None:
    for _ in range(2):  # the second time changes nothing
        eventbus("queue", "pause", "billing", "--reason", "why")
    for _ in range(2):
        eventbus("queue", "resume", "billing")
    assert eventbus.bus is not None
    with reading(eventbus.bus.engine) as connection:
        rows = connection.execute(sa.select(tables.operation).order_by(tables.operation.c.id)).all()
    assert [(row.kind, row.state, json.loads(row.parameters)) for row in rows] == [
        ("queue.pause", "done", {"queues": ["shop.billing"], "reason": "why"}),
        ("queue.resume", "done", {"queues": ["shop.billing"]}),
    ]
    assert all("@" in row.started_by for row in rows)


def test_all_queues_at_once(eventbus: CommandLine) -> None:
    eventbus("queue", "pause", "--all")
    listed = eventbus("queue", "list", "--json").json["queues"]
    assert [one["queue"] for one in listed if one["paused"]] == ["shop.billing", "shop.ledger"]
    assert eventbus("queue", "resume", "--all", "--json").json["queues"] == [
        {"queue": "shop.billing", "changed": True},
        {"queue": "shop.ledger", "changed": True},
    ]
    assert eventbus("queue", "resume", "--all").out == "no queue is paused\n"


def test_list_says_who_has_paused_and_why(eventbus: CommandLine) -> None:
    eventbus("queue", "pause", "billing", "--reason", "evil\x1b[2J\n[red]")
    done = eventbus("queue", "list")
    assert "shop.billing  paused" in done.out
    assert "evil\\x1b[2J\\n[red]" in done.err
    (one, _) = eventbus("queue", "list", "--json").json["queues"]
    assert "@" in one["paused"]["by"]
    assert one["paused"]["since"].endswith("Z")


def test_a_pause_needs_no_broker(eventbus: CommandLine) -> None:
    eventbus.bus = make_bus(
        database_url="sqlite:///eventbus.db", broker_url="amqp://u:hunter2@127.0.0.1:1/"
    )
    assert eventbus("queue", "pause", "billing").code == 0
    listed = eventbus("queue", "list")
    assert listed.code == 0
    assert "shop.billing  paused" in listed.out
    assert "no broker listens there" in listed.err
    assert eventbus("queue", "resume", "billing").code == 0


def test_without_an_application_full_names_are_needed(
    eventbus: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    eventbus.bus = None
    monkeypatch.setenv("EVENTBUS_DATABASE_URL", "sqlite:///eventbus.db")
    short = eventbus("queue", "pause", "billing")
    assert short.code == 2
    assert "such as shop.billing" in short.err
    assert eventbus("queue", "pause", "shop.billing").code == 0
    listed = eventbus("queue", "list", "--json").json["queues"]
    assert [one["queue"] for one in listed] == ["shop.billing"]
    everything = eventbus("queue", "pause", "--all")
    assert everything.code == 2
    assert "-A" in everything.err
    assert eventbus("queue", "resume", "shop.billing").out == "shop.billing: goes on\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause"], "name a queue"),
        (["pause", "biling"], "did you mean 'shop.billing'?"),
        (["pause", "--all", "billing"], "exclude each other"),
        (["resume", "nope.nope"], "no queue is declared with name 'nope.nope'"),
        (["purge", "biling"], "no queue is declared with name 'biling'"),
        (["purge", "shop.nothing"], "no queue 'shop.nothing' on the broker"),
        (["purge"], "Missing argument"),
    ],
)
def test_bad_input_ends_with_2(eventbus: CommandLine, arguments: list[str], said: str) -> None:
    done = eventbus("queue", *arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize("arguments", [["list"], ["pause", "billing"], ["resume", "billing"]])
def test_without_tables_the_command_that_makes_them_is_named(
    eventbus: CommandLine, arguments: list[str]
) -> None:
    eventbus.bus = make_bus(database_url="sqlite:///other.db")
    done = eventbus("queue", *arguments)
    assert done.code in (3, 4)
    assert "eventbus db upgrade" in done.err
    assert not Path("other.db").exists()
