"""``eventbus doctor`` and the processes' start before real servers, safe and unsafe ones."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psutil
import pytest
import redis as redis_client
import sqlalchemy as sa

from eventbus import database
from eventbus.brokers.rabbitmq import RabbitMQBroker
from eventbus.database import make_engine
from eventbus.drift import FoundQueue
from eventbus.topology import Queue, Topology
from tests.acceptance.cli.conftest import ORDER, Shop, bare, shop
from tests.integration.brokers.test_topology import Steps
from tests.services import RabbitMQ, Redis
from tests.waiting import wait_until

__all__ = ["bare", "shop"]

Checks = dict[str, list[dict[str, str]]]


@pytest.fixture
def servers(bare: Shop, postgres_url: str, broker_url: str, redis_url: str) -> Shop:
    """The application on PostgreSQL, RabbitMQ and Redis, with its tables and its queues."""
    bare.environment |= {
        "EVENTBUS_DATABASE_URL": postgres_url,
        "EVENTBUS_BROKER_URL": broker_url,
        "EVENTBUS_REDIS_URL": redis_url,
    }
    database.upgrade(make_engine(postgres_url))
    with bare.process("worker") as process:
        wait_until(
            lambda: bare.run("dlq", "list", "-Q", "billing,ledger").returncode == 0,
            60,
            lambda: process.err,
        )
        assert process.end() == 0
    return bare


def examine(shop: Shop, code: int) -> Checks:
    """Status to findings, after ``doctor`` ended with `code`."""
    done = shop.run("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    found: Checks = {}
    for check in json.loads(done.stdout)["checks"]:
        found.setdefault(check["status"], []).append(check)
    return found


def results(findings: list[dict[str, str]]) -> str:
    return "\n".join(f"{finding['check']}: {finding['result']}" for finding in findings)


@pytest.fixture
def setting(redis_server: Redis) -> Iterator[Callable[[str, str], None]]:
    """Change settings of the Redis of all tests; they are put back."""
    before: dict[str, str] = {}
    with redis_client.Redis.from_url(redis_server.url, decode_responses=True) as client:

        def change(name: str, value: str) -> None:
            before.setdefault(name, client.config_get(name)[name])
            client.config_set(name, value)

        yield change
        for name, value in before.items():
            client.config_set(name, value)


def test_with_safe_servers_there_is_nothing_to_do(
    servers: Shop, setting: Callable[[str, str], None]
) -> None:
    setting("save", "60 1")  # a test's Redis keeps nothing
    postgresql = make_engine(servers.environment["EVENTBUS_DATABASE_URL"])
    with postgresql.begin() as connection:  # nor does its PostgreSQL take care
        name = postgresql.url.database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = on")
    found = examine(servers, code=4 if _fsync_is_off(postgresql) else 0)
    text = results(found["ok"])
    for part in ("PostgreSQL 1", "RabbitMQ 3", "Redis ", "all 11 are declared", "version 3"):
        assert part in text
    assert "synchronous_commit" not in results(found.get("todo", []))


def _fsync_is_off(engine: sa.Engine) -> bool:
    with engine.connect() as connection:
        return connection.exec_driver_sql("SHOW fsync").scalar() == "off"


def test_an_evicting_redis_is_found(servers: Shop, setting: Callable[[str, str], None]) -> None:
    setting("maxmemory-policy", "allkeys-lru")
    todo = results(examine(servers, 4)["todo"])
    assert "redis: maxmemory-policy is allkeys-lru" in todo


def test_a_redis_that_keeps_nothing_is_found(
    servers: Shop, setting: Callable[[str, str], None]
) -> None:
    setting("save", "")
    assert "redis: it keeps nothing on disk" in results(examine(servers, 4)["todo"])


def test_a_replica_of_redis_is_found(servers: Shop, redis_server: Redis) -> None:
    with Redis(settings={"replicaof": f"127.0.0.1 {redis_server.port}"}) as replica:
        servers.environment["EVENTBUS_REDIS_URL"] = replica.url
        assert "redis: it is a replica" in results(examine(servers, 4)["todo"])


def test_a_rediss_url_without_verification_is_found(servers: Shop) -> None:
    port = urlsplit(servers.environment["EVENTBUS_REDIS_URL"]).port
    servers.environment["EVENTBUS_REDIS_URL"] = f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none"
    found = examine(servers, 3)  # and nobody speaks TLS there
    assert "rediss:// without verification" in results(found["todo"])
    assert "redis" in results(found["unreachable"])


def test_a_postgresql_that_can_lose_a_commit_is_found(servers: Shop) -> None:
    postgresql = make_engine(servers.environment["EVENTBUS_DATABASE_URL"])
    with postgresql.begin() as connection:
        name = postgresql.url.database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert "database: synchronous_commit=off" in results(examine(servers, 4)["todo"])


def test_mariadb_is_examined_too(shop: Shop, mariadb_url: str) -> None:
    shop.environment["EVENTBUS_DATABASE_URL"] = mariadb_url
    assert "tables" in results(examine(shop, 4)["todo"])
    assert shop.run("db", "upgrade").returncode == 0
    assert "MariaDB" in results(examine(shop, 4)["ok"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: re.sub("://.*@", "://shop:hunter2@", url), "refused the login"),
        (lambda url: url.rsplit("/", 1)[0] + "/nowhere", "has no virtual host 'nowhere'"),
        (lambda url: url.replace("amqp://", "amqps://"), "does not speak TLS"),
    ],
)
@pytest.mark.parametrize("command", ["worker", "dispatcher", "run"])
def test_a_broker_that_does_not_let_us_in_ends_with_3_and_says_why(
    servers: Shop, command: str, change: Callable[[str], str], said: str
) -> None:
    url = change(_with_login(servers.environment["EVENTBUS_BROKER_URL"]))
    done = servers.run(command, env={"EVENTBUS_BROKER_URL": url})
    assert done.returncode == 3
    assert said in done.stderr
    assert "hunter2" not in done.stderr


def _with_login(url: str) -> str:
    return url if "@" in url else url.replace("://", "://guest:guest@", 1)


def test_one_good_host_of_three_is_enough(servers: Shop) -> None:
    url = _with_login(servers.environment["EVENTBUS_BROKER_URL"])
    bad = "amqp://guest:guest@127.0.0.1:1/"
    done = servers.run("dispatcher", "--once", env={"EVENTBUS_BROKER_URL": f"{bad};{url};{bad}"})
    assert done.returncode == 0, done.stderr


def test_a_worker_is_small_and_quick(servers: Shop) -> None:
    """Below 1 s from the start to the first message on a machine of its own, and some 80 MiB."""
    servers.publish(1)
    assert servers.run("dispatcher", "--once").returncode == 0
    started = time.monotonic()
    with servers.process("worker") as worker:
        worker.wait_for(f"charged {ORDER}1")
        took = time.monotonic() - started
        worker_mib = psutil.Process(worker.popen.pid).memory_info().rss / 2**20
        assert worker.end() == 0
    with servers.process("dispatcher") as dispatcher:
        dispatcher.wait_for("publishing", in_err=True)
        time.sleep(1)
        dispatcher_mib = psutil.Process(dispatcher.popen.pid).memory_info().rss / 2**20
        assert dispatcher.end() == 0
    print(f"{took:.2f} s, worker {worker_mib:.0f} MiB, dispatcher {dispatcher_mib:.0f} MiB")
    # The aim is 80. With what decodes by contract it is 81.
    assert worker_mib < 83
    # The aim is 60. With psycopg it is 66, 4 of which are SQLAlchemy's MySQL dialect.
    assert dispatcher_mib < 69
    # The machine of a test may be busy with others: a gross regression still shows.
    assert took < 5


def test_topology_and_policies_that_differ_are_found(
    bare: Shop, managed_rabbitmq: RabbitMQ
) -> None:
    url = managed_rabbitmq.create_vhost()
    bare.environment |= {
        "EVENTBUS_BROKER_URL": url,
        "EVENTBUS_MANAGEMENT_URL": managed_rabbitmq.management_url,
    }
    assert bare.run("db", "upgrade").returncode == 0
    assert bare.run("topology", "apply").returncode == 0
    found = examine(bare, 0)
    assert "its HTTP API answers" in results(found["ok"])
    assert "limits deliveries only where a queue says so" in results(found["ok"])
    admin = RabbitMQBroker(url, "events").admin()
    admin.delete(FoundQueue("shop.ledger.dlq", None))
    admin.declare(Topology((), (Queue("shop.gone", {"x-queue-type": "quorum"}),), ()))
    admin.replace(Queue("shop.billing.dlq", {"x-queue-type": "quorum"}), (), Steps())
    admin.close()
    todo = results(examine(bare, 4)["todo"])
    assert "queues: not declared: shop.ledger.dlq" in todo
    assert "queues: of other arguments than declared: shop.billing.dlq" in todo
    assert "queues: more than declared, or bound to more: shop.gone" in todo
    wrong = {"EVENTBUS_MANAGEMENT_URL": "http://127.0.0.1:1"}
    told = bare.run("doctor", env=wrong).stdout
    assert "nothing listens there" in told
    assert "correct management_url" in told
