"""Topology on RabbitMQ alone: rights, queue types, policies, and an HTTP API that is none."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp
import pytest

from eventbus.brokers.rabbitmq import RabbitMQBroker, management
from eventbus.brokers.rabbitmq.control import RabbitMQAdmin, _Refusals
from eventbus.brokers.rabbitmq.probing import probe
from eventbus.drift import BY_HAND, Found, FoundQueue, Kind, plan
from eventbus.errors import EventBusError, QueueInUse, TopologyMismatch
from eventbus.topology import Queue, Topology, subscription_topology
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, bodies, message
from tests.integration.brokers.test_topology import Steps
from tests.integration.brokers.tls import TLSProxy, self_signed_certificate
from tests.services import RabbitMQ
from tests.waiting import wait_until

TOPOLOGY = subscription_topology(EXCHANGE, QUEUE, ["order.*"], longest_delay_ms=0)


@pytest.fixture
def broker(broker_url: str) -> RabbitMQBroker:
    return RabbitMQBroker(broker_url, EXCHANGE)


@pytest.fixture
def admin(bench: Bench) -> RabbitMQAdmin:
    admin = bench.admin()
    assert isinstance(admin, RabbitMQAdmin)
    return admin


def declare_plainly(admin: RabbitMQAdmin, name: str, **arguments: Any) -> None:
    """A queue that is not as ours are."""
    with admin.channel(name) as channel:
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)


# ------------------------------------------------------------------------------------- probing


def test_asking_for_the_arguments_of_a_queue_never_creates_it(admin: RabbitMQAdmin) -> None:
    """It may vanish between finding that it is there and asking."""
    declared = TOPOLOGY.queues[0]
    found = probe("shop.vanished", declared.arguments, _Refusals(admin, "shop.vanished").of)
    assert found.unseen >= declared.arguments.keys()
    assert admin.stats(["shop.vanished"]) == {}


def test_the_arguments_of_a_foreign_classic_queue_are_found(admin: RabbitMQAdmin) -> None:
    declare_plainly(admin, QUEUE, **{"x-max-length": 7, "x-expires": 600_000})
    found = admin.find(TOPOLOGY.queues[0])
    assert found is not None
    assert found.arguments == {"x-max-length": 7, "x-expires": 600_000}
    assert not found.is_quorum


def test_a_start_with_other_arguments_shows_every_difference(admin: RabbitMQAdmin) -> None:
    declare_plainly(admin, QUEUE, **{"x-max-length": 7})
    with pytest.raises(TopologyMismatch) as caught:
        admin.declare(TOPOLOGY)
    for told in ("x-queue-type", "classic", "x-max-length", "x-overflow", "topology plan"):
        assert told in str(caught.value)


def test_an_exchange_of_another_type_is_shown_with_it(admin: RabbitMQAdmin) -> None:
    with admin.channel(EXCHANGE) as channel:
        channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=False)
    with pytest.raises(TopologyMismatch, match=r"events +type +topic +direct"):
        admin.declare(TOPOLOGY)
    (change,) = plan(Topology(TOPOLOGY.exchanges, (), ()), admin.inspect(TOPOLOGY, "shop."), "shop")
    assert change.kind is Kind.CHANGE_EXCHANGE
    assert change.needs == BY_HAND


def test_a_very_long_name_leaves_no_room_for_values_and_still_differs(
    admin: RabbitMQAdmin,
) -> None:
    name = "shop." + "x" * 150
    declare_plainly(admin, name, **{"x-queue-type": "quorum", "x-max-length": 7})
    wanted = Queue(name, {"x-queue-type": "quorum", "x-max-length": 8})
    with pytest.raises(TopologyMismatch, match="x-max-length"):
        admin.declare(Topology((), (wanted,), ()))


# ----------------------------------------------------------------------------------- replacing


def test_a_classic_queue_becomes_a_quorum_queue(bench: Bench, admin: RabbitMQAdmin) -> None:
    declare_plainly(admin, QUEUE, **{"x-max-length": 5_000})
    admin.declare(Topology(TOPOLOGY.exchanges, (), TOPOLOGY.bindings))
    bench.publish(*(message(n) for n in range(50)))
    admin.replace(TOPOLOGY.queues[0], TOPOLOGY.bindings, Steps())
    assert bodies(list(admin.browse(QUEUE))) == [message(n).body for n in range(50)]
    admin.declare(TOPOLOGY)


def test_a_replaced_queue_keeps_what_a_producer_could_forge_from_being_believed(
    bench: Bench, admin: RabbitMQAdmin
) -> None:
    bench.declare("order.*", max_length=5)
    bench.publish(message(1, "order.paid", **{"eventbus-attempts": 7, "mine": "kept"}))
    admin.replace(TOPOLOGY.queues[0], TOPOLOGY.bindings, Steps())
    kept = next(iter(admin.browse(QUEUE)))
    assert "eventbus-attempts" not in kept.headers
    assert kept.headers["mine"] == "kept"
    assert kept.routing_key == "order.paid"


def test_a_queue_that_takes_no_more_stops_the_migration_and_keeps_the_rest(
    bench: Bench, admin: RabbitMQAdmin
) -> None:
    bench.declare("order.*")
    bench.publish(*(message(n) for n in range(2_000)))
    arguments = {"x-queue-type": "quorum", "x-max-length": 10, "x-overflow": "reject-publish"}
    with pytest.raises(EventBusError, match="refuses messages"):
        admin.replace(Queue(QUEUE, arguments), (), Steps())
    admin.replace(TOPOLOGY.queues[0], TOPOLOGY.bindings, Steps())
    found = {one.body for one in admin.browse(QUEUE)}
    assert found == {message(n).body for n in range(2_000)}


# ------------------------------------------------------------------------------------ deleting


def test_a_message_that_comes_while_the_queue_is_deleted_is_put_back(
    bench: Bench, admin: RabbitMQAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.declare("order.*")
    delete = amqp.Channel.queue_delete

    def late(self: Any, queue: str = "", **options: Any) -> Any:
        monkeypatch.setattr(amqp.Channel, "queue_delete", delete)
        bench.publish(message(1))
        return delete(self, queue, **options)

    monkeypatch.setattr(amqp.Channel, "queue_delete", late)
    with pytest.raises(QueueInUse):
        admin.delete(FoundQueue(QUEUE, TOPOLOGY.queues[0].arguments))
    assert bodies(list(admin.browse(QUEUE))) == [message(1).body]


def test_a_classic_queue_is_deleted_by_the_broker_if_it_is_empty(
    bench: Bench, admin: RabbitMQAdmin
) -> None:
    declare_plainly(admin, QUEUE)
    admin.delete(FoundQueue(QUEUE, {}))
    assert admin.stats([QUEUE]) == {}


# -------------------------------------------------------------------------------------- rights


@pytest.fixture
def restricted(rabbitmq: RabbitMQ, broker_url: str) -> Iterator[Callable[..., RabbitMQBroker]]:
    """The broker as a user whose rights are given as patterns: configure, write, read."""
    vhost = urlsplit(broker_url).path[1:]

    def make(configure: str, write: str, read: str) -> RabbitMQBroker:
        rabbitmq.eval('rabbit_auth_backend_internal:add_user(<<"few">>, <<"few">>, <<"t">>)')
        patterns = ", ".join(f'<<"{one}">>' for one in (configure, write, read))
        rabbitmq.eval(
            f'rabbit_auth_backend_internal:set_permissions(<<"few">>, <<"{vhost}">>, {patterns}, '
            f'<<"t">>)'
        )
        return RabbitMQBroker(broker_url.replace("guest:guest", "few:few"), EXCHANGE)

    yield make
    rabbitmq.eval('rabbit_auth_backend_internal:delete_user(<<"few">>, <<"t">>)')


def test_a_worker_that_may_not_configure_uses_what_is_there(
    bench: Bench,
    admin: RabbitMQAdmin,
    restricted: Callable[..., RabbitMQBroker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    admin.declare(TOPOLOGY)
    worker = restricted("^$", "^(events|amq[.]default)$", ".*").admin()
    with caplog.at_level(logging.WARNING):
        worker.declare(TOPOLOGY)
    assert "user 'few' may not declare these" in caplog.text
    assert "order.* to shop.billing" in caplog.text
    worker.close()


def test_what_is_missing_and_may_not_be_configured_is_said_with_the_remedy(
    restricted: Callable[..., RabbitMQBroker],
) -> None:
    worker = restricted("^$", ".*", ".*").admin()
    with pytest.raises(EventBusError) as caught:
        worker.declare(TOPOLOGY)
    assert "'few' has no right to configure exchange 'events'" in str(caught.value)
    assert "topology apply" in str(caught.value)
    worker.close()


def test_arguments_that_may_not_be_asked_for_are_said_to_be_unknown(
    admin: RabbitMQAdmin, restricted: Callable[..., RabbitMQBroker]
) -> None:
    admin.declare(subscription_topology(EXCHANGE, QUEUE, ["a"], longest_delay_ms=0, max_length=5))
    viewer = restricted("^$", "^$", ".*").admin()
    found = viewer.inspect(TOPOLOGY, "shop.")
    assert plan(TOPOLOGY, found, "shop") == ()
    assert any(QUEUE in note and "may not configure" in note for note in found.notes)
    viewer.close()


# -------------------------------------------------------------------------------- the HTTP API


@pytest.fixture
def managed(managed_rabbitmq: RabbitMQ) -> Iterator[tuple[str, str]]:
    """Broker URL and management URL."""
    url = managed_rabbitmq.create_vhost()
    yield url, managed_rabbitmq.management_url
    managed_rabbitmq.drop_vhost(url)


def put(url: str, path: str, value: object) -> None:
    request = urllib.request.Request(f"{url}/api/{path}", json.dumps(value).encode(), method="PUT")
    request.add_header("Authorization", "Basic " + b64encode(b"guest:guest").decode())
    urllib.request.urlopen(request, timeout=30).close()


def test_policies_unacknowledged_messages_and_odd_names_are_seen(managed: tuple[str, str]) -> None:
    url, api = managed
    vhost = urlsplit(url).path[1:]
    bench = Bench(RabbitMQBroker(url, EXCHANGE, api))
    odd = "shop.b+i(l)l%2Fing"
    bench.admin().declare(TOPOLOGY)
    bench.declare("#", queue=odd)
    put(
        api,
        f"policies/{vhost}/bound",
        {"pattern": "^shop[.]billing$", "definition": {"max-length": 9}, "apply-to": "queues"},
    )
    bench.publish(message(1))
    bench.consume()
    admin = bench.admin()

    def look() -> Found | None:
        # The API knows of unacknowledged messages after 5 s.
        found = admin.inspect(TOPOLOGY, "shop.")
        return found if found.queues[QUEUE].messages and found.notes else None

    found = wait_until(look, 30, "the API shows what the consumer has")
    assert found is not None
    assert found.queues[QUEUE].messages == 1  # which the consumer has
    assert found.queues[QUEUE].consumers == 1
    assert found.notes == ("a policy gives shop.billing max-length=9, below the declared 1000000",)
    removed = {one.name for one in plan(TOPOLOGY, found, "shop") if one.kind is Kind.REMOVE_QUEUE}
    assert odd in removed
    bench.close()


class Answer:
    """A web server that gives one answer to everything."""

    def __init__(self, status: int = 200, body: bytes = b"", seconds_a_kib: float = 0.0) -> None:
        self.status = status
        self.body = body
        self.seconds_a_kib = seconds_a_kib

    @contextmanager
    def served(self) -> Iterator[str]:
        answer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(answer.status)
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()
                try:
                    for at in range(0, len(answer.body), 1024):
                        self.wfile.write(answer.body[at : at + 1024])
                        time.sleep(answer.seconds_a_kib)
                except OSError:
                    pass

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401), "it refuses user 'guest'"),
        (Answer(403), "may not see virtual host"),
        (Answer(404), "there is no such API"),
        (Answer(301), "HTTP status 301"),
        (Answer(500, b"oops"), "HTTP status 500"),
        (Answer(200, b"<html>Welcome to nginx!</html>"), "not RabbitMQ's API"),
        (Answer(200, b"[1, 2]"), "not RabbitMQ's API"),
        (Answer(200, b"[" * 200_000), "not RabbitMQ's API"),
        (Answer(200, b""), "not RabbitMQ's API"),
        (Answer(200, b'{"cluster_name": "\\u001b[31mother"}'), "another broker"),
        (Answer(200, b" " * 300_000), "more than"),
        (Answer(200, b" " * 90_000, seconds_a_kib=0.1), "not answer in time"),
    ],
)
def test_an_http_api_that_is_none_is_said_to_be_so_and_done_without(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, answer: Answer, said: str
) -> None:
    monkeypatch.setattr(management, "ANSWER_BYTES", 200_000)
    monkeypatch.setattr(management, "ANSWER_SECONDS", 2.0)
    with answer.served() as url:
        login = url.replace("://", "://guest:hunter2@")
        admin = RabbitMQBroker(broker_url, EXCHANGE, login).admin()
        admin.declare(TOPOLOGY)
        found = admin.inspect(TOPOLOGY, "shop.")
        admin.close()
    assert said in found.notes[0]
    assert "hunter2" not in " ".join(found.notes)
    assert not found.complete
    assert found.bindings is None
    assert plan(TOPOLOGY, found, "shop") == ()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1", "nothing listens there"),
        ("https://127.0.0.1:{port}", "does not speak TLS"),
        ("http://127.0.0.1:{port}", "cannot be used"),
        ("http://nowhere.invalid:15672", "cannot be resolved"),
    ],
)
def test_an_address_where_no_api_is_is_said_and_done_without(
    broker_url: str, url: str, said: str
) -> None:
    url = url.format(port=urlsplit(broker_url).port)
    admin = RabbitMQBroker(broker_url, EXCHANGE, url).admin()
    found = admin.inspect(TOPOLOGY, "shop.")
    admin.close()
    assert said in found.notes[0], found.notes


def test_the_api_of_another_broker_is_not_believed(
    broker_url: str, managed: tuple[str, str]
) -> None:
    admin = RabbitMQBroker(broker_url, EXCHANGE, managed[1]).admin()
    found = admin.inspect(TOPOLOGY, "shop.")
    admin.close()
    assert "another broker" in found.notes[0]
    assert not found.complete


def test_https_is_verified_as_amqps_is(managed: tuple[str, str], tmp_path: Path) -> None:
    url, api = managed
    certificate, key = self_signed_certificate(tmp_path, "localhost")
    ports = [urlsplit(one).port or 0 for one in (url, api)]
    amqps, https = (TLSProxy(certificate, key, port) for port in ports)
    secured = (
        f"amqps://guest:guest@localhost:{amqps.port}{urlsplit(url).path}?cacertfile={certificate}"
    )
    try:
        for broker_url, host, said in (
            (secured, "localhost", None),
            (secured, "127.0.0.1", "another host name"),
            (url, "localhost", "unknown authority"),
        ):
            admin = RabbitMQBroker(broker_url, EXCHANGE, f"https://{host}:{https.port}").admin()
            found = admin.inspect(TOPOLOGY, "shop.")
            admin.close()
            assert found.complete is (said is None), found.notes
            assert said is None or said in found.notes[0]
    finally:
        amqps.close()
        https.close()
