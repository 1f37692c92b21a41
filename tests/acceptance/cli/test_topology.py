"""``eventbus topology`` as an operator uses it, on RabbitMQ and on the embedded broker."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.cli.conftest import PASSWORD, Shop
from tests.services import RabbitMQ
from tests.waiting import wait_until

APPLICATION = """
import os
import sys
import time
from datetime import timedelta

from eventbus import Event, EventBus, Retry

new = bool(os.environ.get("NEW"))
bus = EventBus("shop", retry=Retry(max_attempts=2, max_delay=timedelta(seconds=1)))
bus.queue("billing", max_length=2_000 if new else 1_000)


class OrderPaid(Event, name="order.paid"):
    number: int


@bus.handler("order.*" if new else "order.paid", queue="billing")
def charge(event: OrderPaid) -> None:
    while os.path.exists("hold"):
        time.sleep(0.02)
    sys.stdout.write(f"charged {event.number}\\n")
    sys.stdout.flush()


if not new:

    @bus.handler("order.#", queue="ledger")
    def book(event: OrderPaid) -> None: ...
"""


@pytest.fixture(params=["embedded"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """The application's first version is what the broker holds: ``amqp``, ``management``, or the
    embedded one for what does not depend on it.
    """
    (tmp_path / "shop.py").write_text(APPLICATION)
    shop = Shop(tmp_path, {"EVENTBUS_APP": "shop"})
    if request.param == "management":
        rabbitmq: RabbitMQ = request.getfixturevalue("managed_rabbitmq")
        shop.environment["EVENTBUS_BROKER_URL"] = rabbitmq.create_vhost()
        shop.environment["EVENTBUS_MANAGEMENT_URL"] = rabbitmq.management_url
    elif request.param == "amqp":
        shop.environment["EVENTBUS_BROKER_URL"] = request.getfixturevalue("broker_url")
    assert shop.run("db", "upgrade").returncode == 0
    assert shop.run("topology", "apply").returncode == 0
    return shop


def new(shop: Shop) -> Shop:
    """From now on its second version."""
    shop.environment["NEW"] = "1"
    return shop


def kinds(shop: Shop, code: int) -> set[tuple[str, str, str | None]]:
    done = shop.run("topology", "plan", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    changes = json.loads(done.stdout)["changes"]
    return {(one["kind"], one["name"], one["needs"]) for one in changes}


def publish(shop: Shop, *numbers: int) -> None:
    for number in numbers:
        data = json.dumps({"number": number})
        assert shop.run("events", "publish", "order.paid", data).returncode == 0
    assert shop.run("dispatcher", "--once").returncode == 0


def operations(shop: Shop) -> list[tuple[str, str]]:
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        return connection.execute("SELECT kind, state FROM eventbus_operation").fetchall()


@pytest.mark.parametrize("shop", ["management", "embedded"], indirect=True)
def test_a_second_version_is_planned_and_applied(shop: Shop) -> None:
    assert kinds(shop, 0) == set()
    publish(new(shop), 1, 2)
    assert kinds(shop, 4) >= {
        ("migrate queue", "shop.billing", "--migrate"),
        ("create binding", "shop.billing", None),
        ("remove binding", "shop.billing", "--prune"),
        ("remove queue", "shop.ledger", "--prune"),
        ("remove queue", "shop.ledger.retry.1000", "--prune"),
    }
    done = shop.run("topology", "apply", "--migrate", "--prune", "--yes")
    assert done.returncode == 4
    assert "it holds 2 messages" in done.stdout
    assert kinds(shop, 4) == {
        ("remove queue", "shop.ledger", "--prune"),
        ("remove queue", "shop.ledger.overflow", "--prune"),
    }
    assert operations(shop) == [("topology.apply", "done")]
    with shop.process("worker") as worker:
        worker.wait_for("charged 2")
        worker.end()


def test_apply_alone_creates_and_neither_changes_nor_removes(shop: Shop) -> None:
    new(shop)
    done = shop.run("topology", "apply")
    assert done.returncode == 4
    assert "shop.billing: bound to 'order.*'" in done.stdout
    assert ("create binding", "shop.billing", None) not in kinds(shop, 4)
    assert ("migrate queue", "shop.billing", "--migrate") in kinds(shop, 4)
    assert operations(shop) == []


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    before = kinds(new(shop), 4)
    assert shop.run("topology", "apply", "--migrate", "--dry-run").returncode == 4
    assert kinds(shop, 4) == before


def test_what_changes_or_removes_asks_and_without_a_terminal_does_nothing(shop: Shop) -> None:
    before = kinds(new(shop), 4)
    done = shop.run("topology", "apply", "--migrate")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert kinds(shop, 4) == before


@pytest.mark.parametrize("shop", ["amqp"], indirect=True)
def test_without_the_http_api_nothing_is_pruned_and_it_says_why(shop: Shop) -> None:
    done = shop.run("topology", "apply", "--prune", "--yes")
    assert done.returncode == 1
    assert "management" in done.stderr
    plan = shop.run("topology", "plan")
    assert plan.returncode == 0
    assert "rabbitmq-plugins enable rabbitmq_management" in plan.stderr


@pytest.mark.parametrize("shop", ["amqp"], indirect=True)
def test_a_worker_of_another_version_ends_with_4_and_the_table(shop: Shop) -> None:
    done = new(shop).run("worker")
    assert done.returncode == 4
    assert "shop.billing  x-max-length  2000      1000" in done.stderr
    assert "eventbus topology plan" in done.stderr


@pytest.mark.parametrize("shop", ["amqp", "embedded"], indirect=True)
def test_running_workers_let_go_of_a_queue_for_its_migration_and_come_back(shop: Shop) -> None:
    hold = shop.folder / "hold"
    hold.touch()
    publish(shop, 1, 2, 3)
    with shop.process("worker", "-Q", "billing") as worker:
        wait_until(lambda: _workers(shop) == 1, 30, "the worker is known", interval=0.1)
        new(shop)
        migration = shop.command("topology", "apply", "--migrate", "--yes")
        assert _run_while(shop, migration, lambda: hold.unlink()) == 0
        publish(shop, 4)
        for number in (1, 2, 3, 4):
            worker.wait_for(f"charged {number}")
        assert worker.end() == 0
        assert worker.out.count("charged") == 4
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        assert connection.execute("SELECT count(*) FROM eventbus_paused_queue").fetchone() == (0,)


def _workers(shop: Shop) -> int:
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        query = "SELECT count(*) FROM eventbus_process WHERE report LIKE '%shop.billing%'"
        return int(connection.execute(query).fetchone()[0])


def _run_while(shop: Shop, command: list[str], then: Callable[[], None]) -> int:
    """Run `command`; `then` as soon as it says that it waits for workers."""
    import subprocess

    process = subprocess.Popen(
        command, cwd=shop.folder, env=shop.env(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "waiting for workers" in line:
            then()
    return process.wait(60)


@pytest.mark.parametrize("shop", ["management"], indirect=True)
def test_a_wrong_login_for_the_http_api_is_told_without_the_password(shop: Shop) -> None:
    url = shop.environment["EVENTBUS_MANAGEMENT_URL"].replace("://", f"://guest:{PASSWORD}@")
    done = shop.run("topology", "plan", env={"EVENTBUS_MANAGEMENT_URL": url})
    assert done.returncode == 0
    assert "refuses user 'guest'" in done.stderr


@pytest.mark.parametrize("url", ["ftp://host", "host:15672", "http://", "http://a:b@c@d:1"])
def test_a_management_url_that_is_none_is_a_usage_error(tmp_path: Path, url: str) -> None:
    (tmp_path / "shop.py").write_text(APPLICATION)
    shop = Shop(tmp_path, {"EVENTBUS_APP": "shop", "EVENTBUS_MANAGEMENT_URL": url})
    done = shop.run("topology", "plan")
    assert done.returncode == 2
    assert "EVENTBUS_MANAGEMENT_URL" in done.stderr
