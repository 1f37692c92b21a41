"""``run``, ``dispatcher`` and ``worker``: from the start to every kind of end."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time

import pytest

from tests.waiting import wait_until

from .conftest import ORDER, PASSWORD, Shop


def test_run_is_all_that_a_new_application_needs(bare: Shop) -> None:
    """It creates the tables, declares the queues, publishes and handles, and drains on TERM."""
    with bare.process("run") as process:
        process.wait_for("publishing", in_err=True)
        bare.publish(1)
        process.wait_for(f"charged {ORDER}1")
        process.wait_for(f"booked {ORDER}1")
        assert process.end() == 0
    assert bare.json("outbox", "stats")["logged"] == 1


def test_the_banner_tells_where_it_is_and_what_is_unsafe(shop: Shop) -> None:
    with shop.process("run", env={"EVENTBUS_IDEMPOTENCY_FAILURE": "continue"}) as process:
        process.wait_for("publishing", in_err=True)
        banner = process.err
        assert process.end(signal.SIGINT) == 0
    for text in (
        "service shop",
        "sqlite:///eventbus.db",
        "embedded",
        "shop.billing",
        "charge <- order.paid",
        "threads, concurrency 8",
        "UNSAFE       idempotency_failure=continue",
    ):
        assert text in banner


def test_dispatcher_and_worker_as_two_processes(shop: Shop) -> None:
    with shop.process("worker", "-Q", "billing", "-P", "solo", "-l", "debug") as worker:
        worker.wait_for("solo", in_err=True)
        shop.publish(1)
        # The worker declares the queue; before it has, the event would be logged as unrouted.
        listed = ("dlq", "list", "--queue", "billing")
        wait_until(lambda: shop.run(*listed).returncode == 0, 30, "the queue is declared")
        done = shop.run("dispatcher", "--once")
        assert (done.returncode, done.stdout) == (0, "1 row read from the outbox\n")
        worker.wait_for(f"charged {ORDER}1")
        assert "booked" not in worker.out
        assert worker.end() == 0


def test_the_dispatcher_needs_none_of_the_application(shop: Shop) -> None:
    shop.publish(1)
    (shop.folder / "shop.py").unlink()
    shop.environment = {"EVENTBUS_DATABASE_URL": "sqlite:///eventbus.db"}
    assert shop.run("dispatcher", "--once").stdout == "1 row read from the outbox\n"
    assert shop.run("dispatcher", "--once").stdout == "0 rows read from the outbox\n"
    with shop.process("dispatcher") as process:
        process.wait_for("publishing", in_err=True)
        assert process.end() == 0


def test_a_second_signal_stops_at_once_with_1(shop: Shop) -> None:
    # Its claim is not released, as the handler may still have its effect: the lease has to end.
    shop.environment["EVENTBUS_CLAIM_LEASE"] = "3s"
    (shop.folder / "hold").touch()
    with shop.process("run") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("booked")
        process.send(signal.SIGTERM)
        process.wait_for("draining", in_err=True)
        time.sleep(0.3)  # any sooner it would count as the same signal
        assert process.end() == 1
    (shop.folder / "hold").unlink()
    with shop.process("run") as process:
        process.wait_for(f"charged {ORDER}1")  # it went back to its queue
        assert process.end() == 0


def test_a_running_handler_may_finish_when_it_is_told_to_stop(shop: Shop) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("booked")
        process.send(signal.SIGTERM)
        process.wait_for("draining", in_err=True)
        (shop.folder / "hold").unlink()
        assert process.popen.wait(30) == 0
        assert f"charged {ORDER}1" in process.out


def test_logs_are_json_where_the_setting_says_so(shop: Shop) -> None:
    with shop.process("run", env={"EVENTBUS_LOG_FORMAT": "json"}) as process:
        process.wait_for("publishing", in_err=True)
        assert process.end() == 0
        records = [json.loads(line) for line in process.err.splitlines()]
    assert {"time", "level", "logger", "message"} <= set(records[0])
    assert records[0]["queues"]["shop.billing"] == {"charge": ["order.paid"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "-c", "0"], "whole number from 1 to 1000"),
        (["worker", "-c", "1e9"], "whole number from 1 to 1000"),
        (["worker", "--prefetch", "x"], "whole number from 1 to 10000"),
        (["worker", "-P", "gevent"], "use one of prefork, threads, solo"),
        (["worker", "-Q", "nope"], "no queue is declared with name 'nope'; declared: billing"),
        (["run", "-Q", "biling"], "did you mean 'billing'?"),
        (["worker", "-A", "nowhere"], "there is no module 'nowhere'"),
        (["-A", "shop:nope", "worker"], "use -A shop:bus"),
        (["worker", "-A", "broken"], "importing 'broken' failed: KeyError: 'x'"),
        (["worker", "-A", "twice"], "two handlers are called 'charge'"),
        (["worker", "-A", "shop:OrderPaid"], "not an EventBus"),
    ],
)
def test_a_bad_start_ends_with_2(shop: Shop, arguments: list[str], said: str) -> None:
    (shop.folder / "broken.py").write_text("{}['x']")
    (shop.folder / "twice.py").write_text(
        "from shop import bus, charge\nbus.handler('order.paid', queue='x')(charge)\n"
    )
    done = shop.run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "command", [["worker"], ["run"], ["events", "list"], ["events", "publish", "a", "{}"]]
)
def test_without_an_application_the_option_is_named(bare: Shop, command: list[str]) -> None:
    bare.environment = {"EVENTBUS_DATABASE_URL": "sqlite:///eventbus.db"}
    done = bare.run(*command)
    assert done.returncode == 2
    assert "give -A MODULE:ATTR" in done.stderr
    assert not (bare.folder / "eventbus.db").exists()


@pytest.mark.parametrize(
    "command", [["dispatcher"], ["db", "upgrade"], ["outbox", "stats"], ["doctor"]]
)
def test_a_forgotten_application_never_makes_a_database(bare: Shop, command: list[str]) -> None:
    bare.environment = {}
    done = bare.run(*command)
    assert done.returncode == 2
    assert "EVENTBUS_DATABASE_URL" in done.stderr
    assert not (bare.folder / "eventbus.db").exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("BROKER_URL", f"http://u:{PASSWORD}@h/", "expected 'amqp://"),
        ("BROKER_URL", f"amqp://u:{PASSWORD}@h:99999/", "not a number from 1 to 65535"),
        ("BROKER_URL", f"amqp://u:a@{PASSWORD}@h/", "write them as '%40'"),
        ("BROKER_URL", f"amqp://u:{PASSWORD}@a;h;amqp://u:{PASSWORD}@c", "needs a full URL"),
        ("DATABASE_URL", f"oracle://u:{PASSWORD}@h/x", "expected a database URL"),
        ("DATABASE_URL", "sqlite://", "in-memory"),
        ("REDIS_URL", f"memcached://:{PASSWORD}@h", "expected 'redis://"),
        ("LOG_LEVEL", "loud", "expected one of DEBUG"),
        ("IDEMPOTENCY_TTL", "0", "longer than zero"),
        ("IDEMPOTENCY_TTL", "1s", "is not longer than the longest retry delay"),
        ("CLAIM_LEASE", "1s", "at least 3s"),
    ],
)
def test_a_setting_that_cannot_work_ends_with_2(
    shop: Shop, variable: str, value: str, said: str
) -> None:
    done = shop.run("worker", env={f"EVENTBUS_{variable}": value})
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [["worker"], ["run"], ["dispatcher"], ["dispatcher", "--once"]])
def test_a_broker_that_is_not_there_ends_with_3(shop: Shop, command: list[str]) -> None:
    done = shop.run(*command, env={"EVENTBUS_BROKER_URL": f"amqp://shop:{PASSWORD}@127.0.0.1:1/"})
    assert done.returncode == 3
    assert "127.0.0.1:1 refused: no broker listens there" in done.stderr


@pytest.mark.parametrize(
    "command", [["worker"], ["dispatcher"], ["outbox", "stats"], ["db", "check"], ["db", "upgrade"]]
)
def test_a_database_that_is_not_there_ends_with_3(shop: Shop, command: list[str]) -> None:
    url = f"postgresql+psycopg://shop:{PASSWORD}@127.0.0.1:1/shop"
    done = shop.run(*command, env={"EVENTBUS_DATABASE_URL": url})
    assert done.returncode == 3
    assert "postgresql+psycopg://shop:***@127.0.0.1:1/shop" in done.stderr


@pytest.mark.parametrize("command", [["worker"], ["dispatcher"]])
def test_tables_that_are_missing_end_with_4_and_the_command(bare: Shop, command: list[str]) -> None:
    done = bare.run(*command)
    assert done.returncode == 4
    assert "eventbus db upgrade" in done.stderr


@pytest.mark.parametrize("command", [["run"], ["dispatcher"], ["worker"], ["db", "upgrade"]])
def test_tables_of_a_newer_version_end_with_4(shop: Shop, command: list[str]) -> None:
    with sqlite3.connect(shop.folder / "eventbus.db") as connection:
        connection.execute("UPDATE eventbus_schema_version SET version = 999")
    done = shop.run(*command)
    assert done.returncode == 4
    assert "newer" in done.stderr


def test_a_queue_with_other_arguments_ends_with_4(shop: Shop) -> None:
    with shop.process("run") as process:
        process.wait_for("publishing", in_err=True)
        assert process.end() == 0
    with (shop.folder / "shop.py").open("a") as file:
        file.write("\nbus.queue('billing', max_length=5)\n")
    for command in ("worker", "run"):
        done = shop.run(command)
        assert done.returncode == 4
        assert "shop.billing" in done.stderr
        assert "x-max-length" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_database_ends_with_3(shop: Shop) -> None:
    os.chmod(shop.folder / "eventbus.db", 0o444)
    os.chmod(shop.folder, 0o555)
    try:
        done = shop.run("dispatcher", "--once")
    finally:
        os.chmod(shop.folder, 0o755)
    assert done.returncode == 3
