"""``status`` and ``top --json``: parts that are away, bad input, no trace left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from .calls import PASSWORD, CommandLine, OrderPaid, make_bus

NO_BROKER = f"amqp://shop:{PASSWORD}@127.0.0.1:1/"
NO_DATABASE = f"postgresql+psycopg://shop:{PASSWORD}@127.0.0.1:1/shop"


def test_what_cannot_be_reached_is_shown_as_such(eventbus: CommandLine) -> None:
    bus = eventbus.bus = make_bus(database_url="sqlite:///eventbus.db", broker_url=NO_BROKER)
    with Session(bus.engine) as session, session.begin():
        bus.publish(OrderPaid(order_id="1"), session=session)
    done = eventbus("status")
    assert done.code == 0
    assert "! broker: " in done.out
    assert "no broker listens there" in done.out
    assert "pending 1" in done.out
    status = eventbus("status", "--json").json
    assert status["queues"][0]["ready"] is None
    assert set(status["away"]) == {"broker"}
    assert eventbus("status", "--check").code == 4


def test_a_database_that_is_away_leaves_the_queues(eventbus: CommandLine) -> None:
    assert eventbus.bus is not None
    admin = eventbus.bus.broker.admin()
    admin.declare(eventbus.bus.topology())
    admin.close()
    eventbus.bus = make_bus(database_url=NO_DATABASE, broker_url="sqlite:///eventbus.db")
    status = eventbus("status", "--json").json
    assert set(status["away"]) == {"database"}
    assert (status["outbox"], status["processes"], status["rates"]) == (None, None, None)
    assert [one["ready"] for one in status["queues"]] == [0, 0]
    assert [one["handled_per_second"] for one in status["queues"]] == [None, None]


def test_with_nothing_to_reach_it_ends_with_3(eventbus: CommandLine) -> None:
    eventbus.bus = make_bus(database_url=NO_DATABASE, broker_url=NO_BROKER)
    done = eventbus("status")
    assert done.code == 3
    assert done.out.startswith("2 problems\n")
    shown = eventbus("status", "--json")
    assert shown.code == 3
    assert json.loads(shown.out)["processes"] is None


def test_looking_makes_no_database(eventbus: CommandLine) -> None:
    eventbus.bus = make_bus(database_url="sqlite:///other.db")
    done = eventbus("status")
    assert done.code == 3
    assert "database and broker: the file of sqlite:///other.db is not there" in done.out
    assert not Path("other.db").exists()


def test_without_an_application_or_a_server_the_option_is_named(eventbus: CommandLine) -> None:
    eventbus.bus = None
    done = eventbus("status")
    assert done.code == 2
    assert "EVENTBUS_DATABASE_URL" in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--max-age", "x"], "cannot be used"),
        (["status", "--max-ready", "-1"], "whole number from 0"),
        (["top", "--interval", "1ms"], "from 200ms to 1h"),
        (["top", "--count", "0", "--json"], "whole number from 1"),
        (["top"], "needs a terminal"),
    ],
)
def test_bad_input_ends_with_2(eventbus: CommandLine, arguments: list[str], said: str) -> None:
    done = eventbus(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_top_prints_a_line_of_json_for_each_look(eventbus: CommandLine) -> None:
    done = eventbus("top", "--json", "--interval", "200ms", "--count", "3")
    assert done.code == 0
    looks = [json.loads(line) for line in done.out.splitlines()]
    assert len(looks) == 3
    assert all(look["queues"][0]["queue"] == "shop.billing" for look in looks)
