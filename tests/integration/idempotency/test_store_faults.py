"""A store that is away, full or read-only says so, is never read as "done", and comes back."""

from __future__ import annotations

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from eventbus.database import make_engine, upgrade
from eventbus.errors import (
    ConfigurationError,
    DatabaseNotMigrated,
    IdempotencyStoreUnavailable,
)
from eventbus.workers.idempotency.port import Claim, Key, Verdict
from eventbus.workers.idempotency.redis import RedisStore
from eventbus.workers.idempotency.sql import SqlStore
from tests.services import MariaDB, PostgreSQL, Redis
from tests.waiting import wait_until

KEYS = [Key("charge", str(number), "f") for number in range(3)]
MINE = [Claim(Verdict.MINE, 1)] * 3
LEASE_MS = 60_000
COMMANDS: dict[str, Callable[[RedisStore | SqlStore], object]] = {
    "claim": lambda store: store.claim(KEYS, "a", LEASE_MS),
    "remember": lambda store: store.remember(KEYS, "a", LEASE_MS),
    "release": lambda store: store.release(KEYS, "a"),
    "renew": lambda store: store.renew(KEYS, "a", LEASE_MS),
    "ping": lambda store: store.ping(),
}


@pytest.fixture
def store(own_redis: Redis) -> Iterator[RedisStore]:
    store = RedisStore(own_redis.url, "shop", timeout_seconds=0.5)
    yield store
    store.close()


def test_a_redis_that_is_down_is_unavailable_and_works_again_after(
    own_redis: Redis, store: RedisStore
) -> None:
    assert store.claim(KEYS, "a", LEASE_MS) == MINE
    own_redis.kill()
    for command in COMMANDS.values():
        with pytest.raises(IdempotencyStoreUnavailable, match="cannot be reached"):
            command(store)
    own_redis.start()
    # An idle connection that the restart has broken, and scripts that are gone.
    assert store.claim(KEYS, "b", LEASE_MS) == MINE


def test_a_restart_between_two_commands_is_not_noticed(own_redis: Redis, store: RedisStore) -> None:
    for command in COMMANDS.values():
        store.ping()
        own_redis.restart()
        command(store)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_redis_that_does_not_answer_is_unavailable_within_the_time_out(
    own_redis: Redis, store: RedisStore, command: str
) -> None:
    store.claim(KEYS, "a", LEASE_MS)
    own_redis.pause()
    started = time.monotonic()
    with pytest.raises(IdempotencyStoreUnavailable, match=r"did not answer in time \(0.5 s\)"):
        COMMANDS[command](store)
    assert time.monotonic() - started < 1.5
    own_redis.resume()
    # The answer to the command that timed out must not be taken for the answer to this one.
    wait_until(
        lambda: store.claim([Key("charge", "new", "f")], "a", LEASE_MS),
        retry_on=IdempotencyStoreUnavailable,
    )
    for number in range(5):
        [answer] = store.claim([Key("later", str(number), "f")], "a", LEASE_MS)
        assert answer == Claim(Verdict.MINE, 1)
        assert store.remember([Key("later", str(number), "f")], "a", LEASE_MS) == [True]


def test_a_claim_whose_answer_was_lost_is_mine_again_and_counts_one_start(
    own_redis: Redis, store: RedisStore
) -> None:
    store.claim([Key("charge", "before", "f")], "a", LEASE_MS)  # loads the script
    own_redis.pause()
    with pytest.raises(IdempotencyStoreUnavailable):
        store.claim(KEYS, "a", LEASE_MS)
    own_redis.resume()
    with redis.Redis.from_url(own_redis.url) as client:
        wait_until(lambda: client.dbsize() == 4, what="the claim was carried out")
    assert store.claim(KEYS, "b", LEASE_MS) == [Claim(Verdict.BUSY)] * 3
    assert store.claim(KEYS, "a", LEASE_MS) == MINE


def test_a_full_redis_is_unavailable_and_says_what_to_do() -> None:
    settings = {"maxmemory": "1200kb", "maxmemory-policy": "noeviction"}
    with Redis(settings=settings) as server:
        store = RedisStore(server.url, "shop")
        store.claim([Key("charge", "before", "f")], "a", LEASE_MS)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "100kb")
            for key in (KEYS, [Key("charge", "before", "f")]):
                with pytest.raises(IdempotencyStoreUnavailable, match="raise maxmemory"):
                    store.claim(key, "a", LEASE_MS)
                with pytest.raises(IdempotencyStoreUnavailable, match="raise maxmemory"):
                    store.remember(key, "a", LEASE_MS)
            client.config_set("maxmemory", "0")
        assert store.claim(KEYS, "a", LEASE_MS) == MINE


def test_a_replica_is_unavailable_and_says_so(own_redis: Redis) -> None:
    with Redis(settings={"replicaof": f"127.0.0.1 {own_redis.port}"}) as replica:
        store = RedisStore(replica.url, "shop")
        with redis.Redis.from_url(replica.url) as client:
            wait_until(
                lambda: client.info("replication")["master_link_status"] == "up",
                what="the replica follows",
                retry_on=redis.ConnectionError,
            )
        for command in ("claim", "remember"):
            with pytest.raises(IdempotencyStoreUnavailable, match="read-only replica"):
                COMMANDS[command](store)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("LOADING Redis is loading the dataset in memory", "still loading"),
        ("MISCONF Redis is configured to save RDB snapshots", "cannot save"),
        ("NOREPLICAS Not enough good replicas to write.", "too few replicas"),
        ("MASTERDOWN Link with MASTER is down", "lost its primary"),
        ("BUSY Redis is busy running a script.", "busy with a script"),
        ("ERR unknown command 'EVALSHA'", "unknown command"),
    ],
)
def test_what_a_server_may_answer_is_said_in_words(reply: str, reason: str) -> None:
    with _answering(f"-{reply}\r\n".encode()) as url:
        store = RedisStore(url, "shop", timeout_seconds=2)
        with pytest.raises(IdempotencyStoreUnavailable, match=reason):
            store.claim(KEYS, "a", LEASE_MS)


def test_a_connection_that_breaks_under_a_command_is_opened_again_once() -> None:
    with _answering(b"", b"$8\r\nM1,M1,M1\r\n") as url:
        assert RedisStore(url, "shop").claim(KEYS, "a", LEASE_MS) == MINE
    with (
        _answering(b"", b"", b"$8\r\nM1,M1,M1\r\n") as url,
        pytest.raises(IdempotencyStoreUnavailable, match="cannot be reached"),
    ):
        RedisStore(url, "shop").claim(KEYS, "a", LEASE_MS)


def test_a_wrong_password_is_unavailable_and_never_shown() -> None:
    with Redis(settings={"requirepass": "right"}) as server:
        wrong = server.url.replace("redis://", "redis://:hunter2@")
        with pytest.raises(
            IdempotencyStoreUnavailable, match="wants another user or password"
        ) as caught:
            RedisStore(wrong, "shop").ping()
        assert "hunter2" not in str(caught.value)
        with pytest.raises(IdempotencyStoreUnavailable, match="wants another user or password"):
            RedisStore(server.url, "shop").claim(KEYS, "a", LEASE_MS)
        right = server.url.replace("redis://", "redis://:right@")
        assert RedisStore(right, "shop").claim(KEYS, "a", LEASE_MS) == MINE


def test_a_url_that_cannot_be_used_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="redis_url=") as caught:
        RedisStore("http://:hunter2@localhost", "shop")
    assert "hunter2" not in str(caught.value)


def test_options_in_the_url_cannot_change_how_answers_are_read(redis_url: str) -> None:
    store = RedisStore(f"{redis_url}?decode_responses=True", "shop")
    assert store.claim(KEYS, "a", LEASE_MS) == MINE


def test_a_database_that_restarts_is_unavailable_in_between(
    own_postgres: PostgreSQL,
) -> None:
    engine = make_engine(own_postgres.create_database())
    upgrade(engine)
    _goes_and_comes_back(SqlStore(engine, "shop"), own_postgres)
    engine.dispose()


def test_a_mariadb_that_restarts_is_unavailable_in_between(own_mariadb: MariaDB) -> None:
    engine = make_engine(own_mariadb.create_database())
    upgrade(engine)
    _goes_and_comes_back(SqlStore(engine, "shop"), own_mariadb)
    engine.dispose()


def test_a_database_without_our_tables_says_what_to_run(database_url: str) -> None:
    engine = make_engine(database_url)
    for command in COMMANDS.values():
        with pytest.raises(DatabaseNotMigrated, match="eventbus db upgrade"):
            command(SqlStore(engine, "shop"))
    engine.dispose()


@contextlib.contextmanager
def _answering(*replies: bytes) -> Iterator[str]:
    """A server that gives our commands `replies` in turn, an empty one by hanging up; its URL."""
    left = list(replies)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while received := self.request.recv(65536):
                reply = left.pop(0) if b"EVAL" in received else b"-ERR unknown command\r\n"
                if not reply:
                    return
                self.request.sendall(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0?protocol=2"
        server.shutdown()


def _goes_and_comes_back(store: SqlStore, server: PostgreSQL | MariaDB) -> None:
    assert store.claim(KEYS, "a", LEASE_MS) == MINE
    server.kill()
    for command in COMMANDS.values():
        with pytest.raises(IdempotencyStoreUnavailable) as caught:
            command(store)
        assert "secret" not in str(caught.value)
    server.start()
    assert store.claim(KEYS, "b", LEASE_MS) == [Claim(Verdict.BUSY)] * 3
    assert store.remember(KEYS, "a", LEASE_MS) == [True] * 3
