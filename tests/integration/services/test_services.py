"""The private servers keep what they promise: port, data, and no process left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pika
import pika.exceptions
import psutil
import pytest
import redis
import sqlalchemy

from tests.services import MariaDB, PostgreSQL, RabbitMQ, Redis, Server, ServerError
from tests.services.server import find_binary
from tests.waiting import WaitTimeout, wait_until

ROOT = Path(__file__).parents[3]


def _pika(url: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.URLParameters(url.removesuffix("/") + "/%2F"))


def _write_message(url: str) -> None:
    with closing(_pika(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
        channel.basic_publish("", "kept", b"kept", pika.BasicProperties(delivery_mode=2))


def _read_message(url: str) -> bool:
    with closing(_pika(url)) as connection:
        channel = connection.channel()
        # A quorum queue elects its leader a moment after the node listens.
        return wait_until(lambda: channel.basic_get("kept")[2] == b"kept", what="the message")


def _write_row(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE kept (id INTEGER)"))
        connection.execute(sqlalchemy.text("INSERT INTO kept VALUES (1)"))
    engine.dispose()


def _read_row(url: str) -> bool:
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        found = connection.scalar(sqlalchemy.text("SELECT id FROM kept")) == 1
    engine.dispose()
    return found


def _write_key(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("kept", "1")


def _read_key(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        return client.get("kept") == b"1"


Access = Callable[[str], object]
DURABLE: dict[str, tuple[Callable[[], Server], Access, Access]] = {
    "rabbitmq": (RabbitMQ, _write_message, _read_message),
    "postgresql": (PostgreSQL, _write_row, _read_row),
    "mariadb": (MariaDB, _write_row, _read_row),
    "redis": (lambda: Redis(persistent=True), _write_key, _read_key),
}


@pytest.mark.parametrize("kind", DURABLE)
def test_a_server_keeps_port_and_data_over_restart_and_kill_and_then_leaves_nothing(
    kind: str,
) -> None:
    create, write, read = DURABLE[kind]
    with create() as server:
        url, folder = server.url, server.folder
        write(url)

        server.restart()
        assert server.url == url
        assert read(url)

        if kind == "rabbitmq":
            _write_message(url)
        server.kill()
        assert not server.running
        server.start()
        assert server.url == url
        assert read(url)

        addresses = _listening_addresses(folder)
        assert addresses
        assert addresses <= {"127.0.0.1", "::1"}
    assert not _processes_in(folder)
    assert not folder.exists()


def test_redis_forgets_by_default(own_redis: Redis) -> None:
    _write_key(own_redis.url)
    own_redis.restart()
    assert not _read_key(own_redis.url)


def test_a_paused_server_is_silent_until_it_is_resumed(own_redis: Redis) -> None:
    own_redis.pause()
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.2, retry=None) as client:
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_redis.resume()
        assert client.ping()


def test_no_server_survives_a_parent_that_is_killed() -> None:
    script = (
        "from tests.services import *\n"
        "servers = [cls().start() for cls in (Redis, PostgreSQL, MariaDB, RabbitMQ)]\n"
        "servers[-1].create_vhost()\n"
        "print(servers[0].folder.parent, flush=True)\n"
        "input()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        folder = Path(parent.stdout.readline().strip())
        # redis-server, postgres and its children, mariadbd, beam.smp, epmd, the Erlang shell
        assert len(_processes_in(folder)) >= 6
        parent.send_signal(signal.SIGKILL)
    wait_until(
        lambda: not folder.exists() and not _processes_in(folder),
        15,
        lambda: f"everything in {folder} is gone, not {_processes_in(folder)}",
    )


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match=r"(?s)exit code.*no-such-directive"):
        Redis(settings={"no-such-directive": "1"}).start()


def test_a_missing_server_says_what_to_install() -> None:
    with pytest.raises(ServerError, match="apt-get install some-server"):
        find_binary("some-serverd", "/usr/lib/some-server/*/some-serverd", package="some-server")


def test_a_deadline_says_what_was_awaited_and_what_was_seen() -> None:
    with pytest.raises(WaitTimeout, match=r"not within 0.05 s: three messages \(last seen: 0\)"):
        wait_until(lambda: 0, 0.05, "three messages")


class TestRabbitMQ:
    @pytest.fixture
    def channel(
        self, broker_url: str
    ) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        parameters = pika.URLParameters(broker_url)
        parameters.blocked_connection_timeout = 0.3
        connection = pika.BlockingConnection(parameters)
        yield connection.channel()
        if connection.is_open:
            connection.close()

    def test_each_test_has_a_virtual_host_of_its_own(
        self, rabbitmq: RabbitMQ, broker_url: str
    ) -> None:
        other = rabbitmq.create_vhost()
        assert other != broker_url
        assert other.rpartition("/")[2] in rabbitmq.ctl("list_vhosts").split()
        rabbitmq.drop_vhost(other)
        assert other.rpartition("/")[2] not in rabbitmq.ctl("list_vhosts").split()

    def test_a_memory_alarm_blocks_publishers_until_it_is_cleared(
        self,
        rabbitmq: RabbitMQ,
        broker_url: str,
        channel: pika.adapters.blocking_connection.BlockingChannel,
    ) -> None:
        channel.confirm_delivery()
        channel.queue_declare("q")
        rabbitmq.set_memory_alarm()
        try:
            with pytest.raises(pika.exceptions.ConnectionBlockedTimeout):
                # What was on its way when the node noticed is still confirmed.
                for _ in range(10):
                    channel.basic_publish("", "q", b"")
        finally:
            rabbitmq.clear_memory_alarm()
        with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
            fresh = connection.channel()
            fresh.confirm_delivery()
            fresh.basic_publish("", "q", b"")

    def test_connections_closed_by_the_operator_carry_the_reason(
        self, rabbitmq: RabbitMQ, channel: pika.adapters.blocking_connection.BlockingChannel
    ) -> None:
        rabbitmq.close_connections("upgrade at noon")
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="upgrade at noon"):
            channel.connection.process_data_events(time_limit=5)

    def test_an_expression_that_fails_raises(self, rabbitmq: RabbitMQ) -> None:
        assert rabbitmq.eval("1 + 1") == "2"
        with pytest.raises(ServerError, match="badarith"):
            rabbitmq.eval("1 / 0")


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_an_empty_database(database_url: str, attempt: int) -> None:
    _write_row(database_url)
    assert _read_row(database_url)


@pytest.mark.parametrize("attempt", [1, 2])
def test_each_test_has_an_empty_redis(redis_url: str, attempt: int) -> None:
    assert not _read_key(redis_url)
    _write_key(redis_url)


def _processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def _listening_addresses(folder: Path) -> set[str]:
    addresses = set()
    for process in _processes_in(folder):
        with suppress(psutil.NoSuchProcess):  # a backend of PostgreSQL's that has done its work
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add(connection.laddr.ip)
    return addresses
