"""Waking on real databases: quickly, from other processes, and again after a break."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from eventbus import wakeup
from eventbus.database import make_engine
from eventbus.errors import ConfigurationError
from tests.waiting import wait_until

CHANNEL = "eventbus_test"

#: Far below what a look at the end of a wait's time-out would take, far above what a wake-up takes.
SOON = 0.1


class Waiting:
    """A thread that waits on a listener as a dispatcher does, and counts how often it is woken."""

    def __init__(self, listener: wakeup.Listener) -> None:
        self.listener = listener
        self.woken = 0
        self.woken_at = 0.0
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._ending:
            if self.listener.wait(30):
                self.woken += 1
                self.woken_at = time.monotonic()

    def settle(self) -> int:
        """Wait until nothing has woken it for a while; how often it was woken so far."""
        began = time.monotonic()
        wait_until(lambda: time.monotonic() - max(began, self.woken_at) > SOON, what="quiet")
        return self.woken

    def latency(self, act: Callable[[], object]) -> float:
        """Seconds from the end of `act` to the wake-up."""
        before = self.settle()
        act()
        acted = time.monotonic()
        wait_until(lambda: self.woken > before, 20, "woken", interval=0.0005)
        return time.monotonic() - acted

    def close(self) -> None:
        self._ending = True
        self.listener.wake()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self.listener.close()


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    engine = make_engine(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def waiting(engine: Engine) -> Iterator[Waiting]:
    """Waits on PostgreSQL, and is listening."""
    listener = wakeup.listener_for(engine, CHANNEL)
    assert isinstance(listener, wakeup.PostgresListener)
    waiting = Waiting(listener)
    wait_until(lambda: listener.listening, what="listening")
    yield waiting
    waiting.close()


def listening(waiting: Waiting) -> bool:
    assert isinstance(waiting.listener, wakeup.PostgresListener)
    return waiting.listener.listening


# --------------------------------------------------------------------------------- PostgreSQL


def test_a_notification_ends_the_wait(waiting: Waiting, engine: Engine) -> None:
    wakeup.notify(engine.url, CHANNEL)  # the first opens the connection
    latencies = [waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL)) for _ in range(5)]
    assert sorted(latencies)[2] < SOON


def test_a_url_as_text_works_too(waiting: Waiting, postgres_url: str) -> None:
    assert waiting.latency(lambda: wakeup.notify(postgres_url, CHANNEL)) < 5


def test_another_channel_wakes_nobody(waiting: Waiting, engine: Engine) -> None:
    before = waiting.settle()
    wakeup.notify(engine.url, "eventbus_other")
    assert wakeup.Notifier.for_url(engine.url).wait_sent(10)
    assert waiting.settle() == before


def test_many_notifications_become_few(
    waiting: Waiting, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "COALESCE_SECONDS", 0.2)
    before = waiting.settle()
    began = time.monotonic()
    while time.monotonic() - began < 1:
        wakeup.notify(engine.url, CHANNEL)
    assert wakeup.Notifier.for_url(engine.url).wait_sent(10)
    rounds = (time.monotonic() - began) / 0.2
    assert 1 <= waiting.settle() - before <= rounds + 2


def test_notifying_takes_microseconds(engine: Engine) -> None:
    began = time.monotonic()
    for _ in range(10_000):
        wakeup.notify(engine.url, CHANNEL)
    assert (time.monotonic() - began) / 10_000 < 0.000_2


def test_a_broken_listener_listens_again(waiting: Waiting, engine: Engine) -> None:
    terminated = terminate(engine, "LISTEN%")
    assert terminated == 1
    # It wakes the waiting one too, as something may have been missed.
    wait_until(lambda: listening(waiting) and listeners(engine) == 1, what="listening again")
    assert waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL)) < 5


def test_a_broken_notifier_sends_what_it_could_not(waiting: Waiting, engine: Engine) -> None:
    waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL))
    waiting.settle()
    assert terminate(engine, "NOTIFY%") >= 1
    assert waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL)) < 5


def test_a_server_that_is_away_neither_blocks_nor_fails_the_caller() -> None:
    url = "postgresql+psycopg://nobody:secret@127.0.0.1:1/nothing"
    began = time.monotonic()
    for _ in range(100):
        wakeup.notify(url, CHANNEL)
    assert time.monotonic() - began < 1
    listener = wakeup.listener_for(make_engine(url), CHANNEL)
    # Without notifications it says "look" all the same, and soon.
    assert all(listener.wait(5) for _ in range(3))
    listener.close()


def test_what_was_committed_before_the_first_wait_is_not_slept_over(engine: Engine) -> None:
    listener = wakeup.listener_for(engine, CHANNEL)
    began = time.monotonic()
    assert listener.wait(30)
    assert time.monotonic() - began < 5
    listener.close()


class LosesListen(psycopg.Connection[Any]):
    """As behind a transaction pooler: the LISTEN went to a connection that is not ours any more."""

    lost = 0

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query.startswith("LISTEN"):
            LosesListen.lost += 1
            query = "SELECT 1"
        return super().execute(query, *args, **kwargs)


def test_behind_a_transaction_pooler_it_polls_and_says_so_once(
    postgres_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "ROUND_TRIP_SECONDS", 0.2)
    monkeypatch.setattr(wakeup, "RETEST_SECONDS", 0.1)
    plain = postgres_url.replace("+psycopg", "")
    engine = make_engine(postgres_url, creator=lambda: LosesListen.connect(plain))
    with caplog.at_level(logging.WARNING):
        listener = wakeup.listener_for(engine, CHANNEL)
        assert isinstance(listener, wakeup.PostgresListener)
        wait_until(lambda: LosesListen.lost >= 3, what="it tries again, now and then")
        assert not listener.listening
        assert all(listener.wait(5) for _ in range(3))
        listener.close()
    assert len(caplog.records) == 1
    assert "pooler" in caplog.text
    assert "secret" not in caplog.text


def test_a_forked_child_notifies_and_leaves_the_parents_connection_alone(
    waiting: Waiting, engine: Engine
) -> None:
    waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL))
    senders = connections(engine, "NOTIFY%")

    def in_child() -> None:
        child = os.fork()
        if child == 0:
            wakeup.notify(engine.url, CHANNEL)
            os._exit(0 if wakeup.Notifier.for_url(engine.url).wait_sent(10) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    assert waiting.latency(in_child) < 5
    wait_until(lambda: connections(engine, "NOTIFY%") == senders, what="the parent's connection")
    assert waiting.latency(lambda: wakeup.notify(engine.url, CHANNEL)) < SOON
    assert connections(engine, "NOTIFY%") == senders


def test_a_process_that_ends_at_once_still_notifies(waiting: Waiting, postgres_url: str) -> None:
    program = f"from eventbus import wakeup; wakeup.notify({postgres_url!r}, {CHANNEL!r})"

    def in_process() -> None:
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)

    assert waiting.latency(in_process) < 5


def terminate(engine: Engine, query: str) -> int:
    """End the connections of `engine`'s database whose last statement was like `query`."""
    return sum(_activity(engine, "pg_terminate_backend(pid)", query))


def connections(engine: Engine, query: str) -> set[int]:
    return set(_activity(engine, "pid", query))


def listeners(engine: Engine) -> int:
    return len(connections(engine, "LISTEN%"))


def _activity(engine: Engine, expression: str, query: str) -> list[Any]:
    separate = sa.create_engine(engine.url, poolclass=NullPool)
    with separate.connect() as connection:
        return list(
            connection.scalars(
                sa.text(
                    f"SELECT {expression} FROM pg_stat_activity "
                    "WHERE datname = current_database() AND query LIKE :query"
                ),
                {"query": query},
            )
        )


# ------------------------------------------------------------------------------------- SQLite


def test_a_commit_on_sqlite_ends_the_wait(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    waiting = Waiting(wakeup.listener_for(engine, CHANNEL))

    def commit() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES (1)")

    latencies = [waiting.latency(commit) for _ in range(5)]
    waiting.close()
    assert sorted(latencies)[2] < SOON


def test_a_transaction_that_rolls_back_wakes_nobody(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    listener = wakeup.listener_for(engine, CHANNEL)
    assert listener.wait(1)
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
        connection.rollback()
    assert not listener.wait(0.2)
    listener.close()


def test_waiting_on_sqlite_costs_next_to_nothing(sqlite_url: str) -> None:
    listener = wakeup.listener_for(make_engine(sqlite_url), CHANNEL)
    listener.wait(1)
    listener.wait(0.5)
    began, used = time.monotonic(), time.process_time()
    while listener.wait(2):
        pass
    share = (time.process_time() - used) / (time.monotonic() - began)
    listener.close()
    assert share < 0.05  # measured 0.006; other machines are slower


def test_a_sqlite_database_that_cannot_be_opened_is_polled(tmp_path: Any) -> None:
    listener = wakeup.listener_for(make_engine(f"sqlite:///{tmp_path}/no/such.db"), CHANNEL)
    assert all(listener.wait(5) for _ in range(3))
    listener.close()


# ---------------------------------------------------------------------------------- all of them


def test_wake_ends_the_wait_from_another_thread(database_url: str) -> None:
    engine = make_engine(database_url)
    waiting = Waiting(wakeup.listener_for(engine, CHANNEL))
    assert waiting.latency(waiting.listener.wake) < SOON
    waiting.close()


def test_a_wait_without_news_ends_at_its_timeout(database_url: str) -> None:
    listener = wakeup.listener_for(make_engine(database_url), CHANNEL)
    began = time.monotonic()
    wait_until(lambda: not listener.wait(0.01), what="a wait that ends without news")
    assert time.monotonic() - began < 10
    listener.close()


def test_polling_slows_down_and_is_quick_again_after_work(mariadb_url: str) -> None:
    listener = wakeup.listener_for(make_engine(mariadb_url), CHANNEL)

    def pause() -> float:
        began = time.monotonic()
        assert listener.wait(5)
        return time.monotonic() - began

    wait_until(lambda: pause() > 0.1, 20, "a longer pause")
    listener.active()
    pause()
    assert pause() < 0.1
    listener.close()


@pytest.mark.parametrize("channel", ["", "Upper", 'x"; DROP TABLE t', "ä", "x" * 64])
def test_a_channel_is_a_plain_name(channel: str, sqlite_url: str) -> None:
    with pytest.raises(ConfigurationError, match="channel"):
        wakeup.listener_for(make_engine(sqlite_url), channel)


def test_other_databases_than_postgresql_need_no_thread(sqlite_url: str) -> None:
    before = threading.active_count()
    wakeup.notify(sqlite_url, CHANNEL)
    assert threading.active_count() == before
