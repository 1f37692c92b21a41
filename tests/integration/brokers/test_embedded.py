"""What the embedded broker promises beyond the port's contract, on each kind of database."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from eventbus import database, tables
from eventbus.brokers.embedded import EmbeddedBroker, publisher
from eventbus.brokers.embedded import consumer as consumer_module
from eventbus.brokers.port import Confirmation, Forward, Settlement
from eventbus.errors import BrokerUnavailable, ConfigurationError, DatabaseNotMigrated
from eventbus.message import REASON_HEADER
from eventbus.topology import (
    DELIVERY_LIMIT,
    Binding,
    Overflow,
    Queue,
    Topology,
    dead_letter_queue_name,
    overflow_queue_name,
)
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, Received, bodies, message
from tests.services import PostgreSQL
from tests.waiting import wait_until

DLQ = dead_letter_queue_name(QUEUE)
OVERFLOW = overflow_queue_name(QUEUE)
ROUTED, UNROUTED = Confirmation.ROUTED, Confirmation.UNROUTED
REFUSED, UNSENDABLE, UNKNOWN = (
    Confirmation.REFUSED,
    Confirmation.UNSENDABLE,
    Confirmation.UNKNOWN,
)

#: A consumer that died is found out after its lease and one look; on a loaded machine later.
DEATH_SECONDS = 30


@pytest.fixture
def broker(database_url: str) -> EmbeddedBroker:
    """An embedded broker; the test runs once on each kind of database."""
    return migrated(database_url)


def migrated(url: str) -> EmbeddedBroker:
    engine = database.make_engine(url)
    database.upgrade(engine)
    engine.dispose()
    return EmbeddedBroker(url, EXCHANGE)


@pytest.fixture
def sqlite_bench(sqlite_url: str) -> Iterator[Bench]:
    bench = Bench(migrated(sqlite_url))
    yield bench
    bench.close()


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(consumer_module, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(consumer_module, "LOOK_SECONDS", 0.05)


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., Any]]:
    """Executes a statement in a transaction of its own; gives its rows."""
    yield from executor(database_url)


def executor(url: str) -> Iterator[Callable[..., Any]]:
    engine = database.make_engine(url)

    def execute(statement: Any) -> Any:
        with engine.begin() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else result.rowcount

    yield execute
    engine.dispose()


class Worker:
    """`embedded_worker.py` in its process, with the bodies it got so far."""

    def __init__(self, url: str, prefetch: int = 100) -> None:
        program = Path(__file__).with_name("embedded_worker.py")
        self.process = subprocess.Popen(
            [sys.executable, str(program), url, QUEUE, str(prefetch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    @property
    def bodies(self) -> list[str]:
        return [line for line in self.lines if line != "consuming"]

    def wait_consuming(self) -> None:
        wait_until(lambda: "consuming" in self.lines, 30, "the worker consumes")

    def wait(self, count: int) -> None:
        wait_until(lambda: len(self.bodies) >= count, 30, f"{count} deliveries in the worker")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def worker(database_url: str) -> Iterator[Callable[..., Worker]]:
    """Starts workers on the test's database."""
    started: list[Worker] = []

    def start(prefetch: int = 100) -> Worker:
        started.append(Worker(database_url, prefetch))
        return started[-1]

    yield start
    for one in started:
        one.close()


# -------------------------------------------------------------------------------- publishing


def test_a_message_is_in_all_its_queues_or_in_none(sqlite_bench: Bench, sqlite_url: str) -> None:
    sqlite_bench.declare("order.*")
    sqlite_bench.declare("order.*", queue="shop.ledger")
    for execute in executor(sqlite_url):
        execute(
            sa.text(
                "CREATE TRIGGER no_ledger BEFORE INSERT ON eventbus_message "
                "WHEN NEW.queue = 'shop.ledger' BEGIN SELECT RAISE(ABORT, 'on purpose'); END"
            )
        )
    assert sqlite_bench.publish(message()) == [UNKNOWN]
    assert sqlite_bench.counts(QUEUE, "shop.ledger") == [0, 0]


def test_batches_are_handed_over_without_waiting(bench: Bench) -> None:
    bench.declare("#")
    sender = bench.publisher()
    futures = [sender.publish([message(n), message(n + 1)]) for n in range(0, 100, 2)]
    assert [future.result(30) for future in futures] == [[ROUTED, ROUTED]] * 50
    _, received = bench.consume()
    received.wait(100)
    assert received.bodies == [message(n).body for n in range(100)]


def test_unrouted_is_said_only_when_no_queue_is_bound_at_this_moment(bench: Bench) -> None:
    sender = bench.publisher()
    assert sender.publish([message()]).result(10) == [UNROUTED]
    bench.declare("order.paid")
    assert sender.publish([message()]).result(10) == [ROUTED]


def test_a_second_queue_is_seen_soon(bench: Bench) -> None:
    bench.declare("order.paid")
    sender = bench.publisher()
    assert sender.publish([message()]).result(10) == [ROUTED]
    bench.declare("order.paid", queue="shop.ledger")
    declared_at = time.monotonic()

    def arrives() -> bool:
        sender.publish([message()]).result(10)
        return bench.counts("shop.ledger") != [0]

    wait_until(arrives, 5, "a copy in the second queue")
    assert time.monotonic() - declared_at < 3


def test_another_exchange_is_another_world(bench: Bench, database_url: str) -> None:
    bench.declare("#")
    elsewhere = EmbeddedBroker(database_url, "other").publisher("other")
    assert elsewhere.publish([message()]).result(10) == [UNROUTED]
    elsewhere.close()


def test_what_cannot_be_stored_is_refused_and_the_others_are_not(bench: Bench) -> None:
    bench.declare("#")
    unfit = [
        message(routing_key="x" * 256),
        message(routing_key="\ud800"),
        message(routing_key="\0"),
    ]
    confirmations = bench.publish(message(1), *unfit, message(2))
    assert confirmations == [ROUTED, UNSENDABLE, UNSENDABLE, UNSENDABLE, ROUTED]
    assert bench.counts(QUEUE) == [2]


def test_foreign_headers_survive(bench: Bench) -> None:
    bench.declare("#")
    headers = {"bytes": b"\0\xff", "table": {"list": [1, None, "ä\0"]}, "lone": "\ud800"}
    bench.publish(message(**headers))
    assert next(bench.admin().browse(QUEUE, 1)).headers == headers


# --------------------------------------------------------------------------------- consuming


def test_a_delivery_comes_soon_after_its_publish(bench: Bench, database_url: str) -> None:
    bench.declare("#")
    consumer, received = bench.consume()
    sender = bench.publisher()
    latencies = []
    for number in range(1, 12):
        began = time.monotonic()
        sender.publish([message(number)]).result(10)
        wait_until(lambda n=number: len(received.deliveries) >= n, interval=0.0005)
        latencies.append(time.monotonic() - began)
        consumer.settle([Settlement(received.deliveries[-1])])
    # Far below the second after which it would look by itself.
    assert sorted(latencies)[5] < (0.1 if "mysql" not in database_url else 0.4)


def test_several_processes_share_a_queue_without_doubling(
    bench: Bench, worker: Callable[..., Worker]
) -> None:
    bench.declare("#")
    workers = [worker(20) for _ in range(3)]
    for one in workers:
        one.wait_consuming()
        one.tell("ack all")
    for start in range(0, 1_500, 50):
        bench.publish(*(message(n) for n in range(start, start + 50)))
    wait_until(lambda: sum(len(one.bodies) for one in workers) >= 1_500, 60, "all delivered")
    bench.wait_counts({QUEUE: 0})
    seen = Counter(body for one in workers for body in one.bodies)
    assert seen == Counter(message(n).body.decode() for n in range(1_500))
    assert all(one.bodies for one in workers)


def test_what_a_killed_consumer_had_is_delivered_again(
    bench: Bench, worker: Callable[..., Worker]
) -> None:
    bench.declare("#")
    bench.publish(*(message(n) for n in range(10)))
    victim = worker()
    victim.wait(10)
    assert bench.admin().stats([QUEUE])[QUEUE].consumers == 1
    victim.kill()
    _, received = bench.consume()
    deliveries = received.wait(10, DEATH_SECONDS)
    assert bodies([one.message for one in deliveries]) == [message(n).body for n in range(10)]
    assert all(one.redelivered for one in deliveries)
    assert bench.admin().stats([QUEUE])[QUEUE].consumers == 1


def test_a_fresh_message_is_not_called_redelivered(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message())
    _, received = bench.consume()
    assert not received.wait(1)[0].redelivered


def test_what_a_stalled_consumer_had_is_settled_by_another_and_by_it_in_vain(
    bench: Bench, worker: Callable[..., Worker], sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message(1))
    stalled = worker()
    stalled.wait(1)
    stalled.process.send_signal(signal.SIGSTOP)
    consumer, received = bench.consume()
    delivery = received.wait(1, DEATH_SECONDS)[0]
    consumer.cancel()
    stalled.process.send_signal(signal.SIGCONT)
    stalled.tell("ack")
    # It comes back as somebody else, and consumes again; its acknowledgement changed nothing.
    bench.publish(message(2))
    stalled.wait(2)
    assert stalled.bodies[1] == message(2).body.decode()
    assert len(sql(sa.select(tables.message))) == 2
    consumer.settle([Settlement(delivery)])
    wait_until(lambda: len(sql(sa.select(tables.message))) == 1, what="the message is settled")


def test_what_another_consumer_has_by_now_cannot_be_settled(
    bench: Bench, sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message(1), message(2), message(3))
    consumer, received = bench.consume()
    taken, forwarded, own = received.wait(3)
    lease = int(time.time() * 1000) + 60_000
    other = {"owner": "other", "name": "other", "queues": "[]", "lease_until_ms": lease}
    sql(tables.consumer.insert().values(other))
    lost = tables.message.c.seq.in_([taken.tag.seq, forwarded.tag.seq])
    sql(tables.message.update().where(lost).values(owner="other"))
    parking = Settlement(forwarded, (Forward(forwarded.message, None),))
    consumer.settle([Settlement(taken), parking, Settlement(own)])
    left = sa.select(tables.message.c.queue, tables.message.c.owner)
    wait_until(lambda: len(sql(left)) == 2, what="what it has is settled")
    assert [tuple(row) for row in sql(left)] == [(QUEUE, "other")] * 2


@pytest.mark.usefixtures("short_leases")
def test_a_living_consumer_keeps_what_it_has_beyond_its_lease(
    bench: Bench, sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message())
    consumer, first = bench.consume(name="first")
    delivery = first.wait(1)[0]
    _, second = bench.consume(name="second")
    lease = sa.select(tables.consumer.c.lease_until_ms).where(tables.consumer.c.name == "first")
    until = sql(lease)[0][0]
    wait_until(lambda: sql(lease)[0][0] > until + 3_000, what="three more leases")
    assert not second.deliveries
    consumer.settle([Settlement(delivery)])
    wait_until(lambda: not sql(sa.select(tables.message)), what="the message is settled")


@pytest.mark.usefixtures("short_leases")
def test_messages_of_a_consumer_that_was_never_registered_are_free(
    bench: Bench, sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message())
    assert sql(tables.message.update().values(owner="nobody knows")) == 1
    _, received = bench.consume()
    received.wait(1)


def test_a_message_that_outlives_its_delivery_limit_is_parked(
    bench: Bench, sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message(1), message(2))
    # As after so many consumers that died with it.
    first = sql(sa.select(sa.func.min(tables.message.c.seq)))[0][0]
    sql(
        tables.message.update()
        .where(tables.message.c.seq == first)
        .values(deliveries=DELIVERY_LIMIT)
    )
    _, received = bench.consume()
    assert received.wait(1)[0].message.body == message(2).body
    bench.wait_counts({DLQ: 1})
    parked = next(bench.admin().browse(DLQ, 1))
    assert parked.body == message(1).body
    assert "delivery_limit" in parked.headers[REASON_HEADER]


def test_giving_back_does_not_count_towards_the_delivery_limit(bench: Bench) -> None:
    limited = Queue(QUEUE, {"x-delivery-limit": 2})
    bench.admin().declare(Topology((), (limited,), (Binding(EXCHANGE, QUEUE, "#"),)))
    bench.publish(message())
    for _ in range(5):
        consumer, received = bench.consume()
        received.wait(1)
        consumer.close(10)
    assert bench.counts(QUEUE) == [1]


def test_a_retry_is_not_ready_before_its_time(bench: Bench) -> None:
    bench.declare("#")
    bench.publish(message())
    consumer, received = bench.consume()
    delivery = received.wait(1)[0]
    began = time.monotonic()
    consumer.settle([Settlement(delivery, (Forward(delivery.message, 700),))])
    again = received.wait(2)[1]
    assert 0.6 < time.monotonic() - began < 5
    assert not again.redelivered


def test_what_cannot_be_read_is_delivered_as_undecodable(
    bench: Bench, sql: Callable[..., Any]
) -> None:
    bench.declare("#")
    bench.publish(message(1), message(2))
    first = sql(sa.select(sa.func.min(tables.message.c.seq)))[0][0]
    broken = tables.message.update().where(tables.message.c.seq == first)
    sql(broken.values(properties="no JSON"))
    _, received = bench.consume()
    deliveries = received.wait(2)
    assert deliveries[0].undecodable
    assert deliveries[0].message.body == message(1).body
    assert deliveries[1].undecodable is None


def test_a_missing_queue_is_named_and_consumed_once_it_is_there(bench: Bench) -> None:
    consumer, received = bench.consumer(), Received()
    consumer.start({QUEUE: 10}, received.take)
    wait_until(lambda: QUEUE in (consumer.trouble or ""), what="trouble names the queue")
    assert not consumer.wait_consuming(0)
    bench.declare("#")
    assert consumer.wait_consuming(10)
    assert consumer.trouble is None


def test_a_cancelled_consumer_is_not_counted(bench: Bench) -> None:
    bench.declare("#")
    consumer, _ = bench.consume()
    assert bench.admin().stats([QUEUE])[QUEUE].consumers == 1
    consumer.cancel()
    wait_until(lambda: bench.admin().stats([QUEUE])[QUEUE].consumers == 0, what="no consumer")


# ------------------------------------------------------------------------------------- bounds


def test_what_is_delivered_does_not_count_towards_the_bound(bench: Bench) -> None:
    bench.declare("#", max_length=5)
    bench.publish(*(message(n) for n in range(5)))
    _, received = bench.consume()
    received.wait(5)
    bench.publish(*(message(n) for n in range(5, 10)))
    received.wait(10)
    assert bench.counts(QUEUE, OVERFLOW) == [0, 0]


def test_a_large_bound_is_counted_seldom_and_kept(sqlite_bench: Bench, sqlite_url: str) -> None:
    sqlite_bench.declare("#", max_length=1_000)
    sender = sqlite_bench.publisher()
    for start in range(0, 3_000, 10):
        sender.publish([message(n) for n in range(start, start + 10)]).result(10)
    ready, overflowed = sqlite_bench.counts(QUEUE, OVERFLOW)
    assert 1_000 <= ready <= 1_010
    assert ready + overflowed == 3_000


def test_a_message_is_refused_for_all_its_queues_or_for_none(bench: Bench) -> None:
    bench.declare("#", max_length=5, overflow=Overflow.BLOCK)
    bench.declare("#", queue="shop.healthy")
    confirmations = bench.publish(*(message(n) for n in range(20)))
    assert confirmations == [ROUTED] * 5 + [REFUSED] * 15
    assert bench.counts(QUEUE, "shop.healthy") == [5, 5]


# ------------------------------------------------------------------------------ declaring


def test_many_processes_may_declare_at_once(bench: Bench) -> None:
    errors: list[BaseException] = []
    together = threading.Barrier(8)

    def declare() -> None:
        admin = bench.broker.admin()
        together.wait(30)
        try:
            admin.declare(topology)
        except BaseException as error:
            errors.append(error)
        finally:
            admin.close()

    queues = tuple(Queue(f"shop.q{n}", {"x-max-length": 5}) for n in range(30))
    topology = Topology((), queues, tuple(Binding(EXCHANGE, one.name, "#") for one in queues))
    threads = [threading.Thread(target=declare) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert len(bench.admin().stats([one.name for one in queues])) == 30


# ---------------------------------------------------------------------- a database in trouble


def test_publishing_and_consuming_wait_for_a_locked_database(
    sqlite_bench: Bench, sqlite_url: str
) -> None:
    sqlite_bench.declare("#")
    sender = sqlite_bench.publisher()
    _, received = sqlite_bench.consume()
    engine = database.make_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(tables.queue.insert().values(name="locks", arguments="{}"))
        future = sender.publish([message()])
        with pytest.raises(TimeoutError):
            future.result(1)
    assert future.result(20) == [ROUTED]
    received.wait(1)


@pytest.mark.faults
def test_a_database_that_is_away_and_back(own_postgres: PostgreSQL) -> None:
    url = own_postgres.create_database()
    bench = Bench(migrated(url))
    bench.declare("#")
    bench.publish(message(0))
    sender = bench.publisher()
    consumer, received = bench.consume()
    held = received.wait(1)[0]

    # Frozen first, so that the settlement is under way when the connection breaks.
    own_postgres.pause()
    consumer.settle([Settlement(held)])
    own_postgres.kill()
    wait_until(lambda: sender.publish([message(1)]).result(40) == [UNKNOWN], 40, "unknown")
    assert not sender.wait_ready(0)
    wait_until(lambda: consumer.trouble, 20, "the consumer's trouble")
    assert not consumer.wait_consuming(0)
    for trouble in (sender.trouble or "", consumer.trouble or ""):
        assert "127.0.0.1" in trouble
        assert "secret" not in trouble
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1"):
        bench.broker.ping()

    rows = sa.select(sa.func.count()).select_from(tables.message)
    own_postgres.start()
    assert sender.wait_ready(30), sender.trouble
    assert consumer.wait_consuming(30), consumer.trouble
    assert sender.publish([message(2)]).result(10) == [ROUTED]
    wait_until(lambda: message(2).body in received.bodies, what="the new message")
    # Settled while the database went away: not delivered again, and gone.
    assert received.bodies.count(message(0).body) == 1
    consumer.settle([Settlement(one) for one in received.deliveries[1:]])
    wait_until(lambda: next(executor(url))(rows) == [(0,)], what="everything is settled")
    bench.close()


@pytest.mark.faults
def test_a_database_that_hangs_is_answered_for(
    own_postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 1.0)
    bench = Bench(migrated(own_postgres.create_database()))
    bench.declare("#")
    sender = bench.publisher()
    own_postgres.pause()
    try:
        assert sender.publish([message()]).result(10) == [UNKNOWN]
        assert not sender.wait_ready(0)
        assert "no answer" in (sender.trouble or "")
        assert sender.publish([message()]).result(0.5) == [UNKNOWN]
    finally:
        own_postgres.resume()
    assert sender.wait_ready(30), sender.trouble
    assert sender.publish([message()]).result(10) == [ROUTED]
    bench.close()


def test_sqlite_needs_no_migration(sqlite_url: str) -> None:
    bench = Bench(EmbeddedBroker(sqlite_url, EXCHANGE))
    bench.broker.ping()
    bench.declare("#")
    assert bench.publish(message()) == [ROUTED]
    bench.close()


def test_a_server_without_the_tables_is_said_and_used_once_they_are_there(
    postgres_url: str,
) -> None:
    broker = EmbeddedBroker(postgres_url, EXCHANGE)
    with pytest.raises(DatabaseNotMigrated, match="db upgrade"):
        broker.ping()
    with pytest.raises(DatabaseNotMigrated, match="db upgrade"):
        broker.admin()
    sender = broker.publisher("test")
    wait_until(lambda: "db upgrade" in (sender.trouble or ""), what="trouble says it")
    migrated(postgres_url)
    assert sender.wait_ready(20)
    sender.close()


def test_a_server_that_cannot_be_reached_is_said_without_the_password() -> None:
    broker = EmbeddedBroker("postgresql://shop:secret@127.0.0.1:1/none", EXCHANGE)
    assert "secret" not in broker.url
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1") as caught:
        broker.ping()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nonsense"])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        EmbeddedBroker(url, EXCHANGE)
