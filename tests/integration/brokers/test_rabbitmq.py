"""What only the RabbitMQ adapter has to cope with: logins, TLS, foreign messages, alarms."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest

from eventbus.brokers.port import Broker, Confirmation, Forward, Settlement
from eventbus.brokers.rabbitmq import RabbitMQBroker, moving, publisher
from eventbus.errors import BrokerUnavailable, ConfigurationError, EventBusError
from eventbus.message import Message
from eventbus.topology import Exchange, Queue, Topology, dead_letter_queue_name, retry_queue_name
from tests.integration.brokers.conftest import EXCHANGE, QUEUE, Bench, message
from tests.integration.brokers.tls import TLSProxy, self_signed_certificate
from tests.services import RabbitMQ
from tests.waiting import wait_until

DLQ = dead_letter_queue_name(QUEUE)
ROUTED, UNROUTED, REFUSED, UNSENDABLE, UNKNOWN = Confirmation


@pytest.fixture
def rabbit(broker_url: str) -> Iterator[Bench]:
    bench = Bench(RabbitMQBroker(broker_url, EXCHANGE))
    yield bench
    bench.close()


class RawProperties(pika.BasicProperties):
    """Property flags and values as they are given, right or wrong."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self._raw = raw

    def encode(self) -> list[bytes]:
        return [self._raw]


def send_raw(url: str, properties: pika.BasicProperties, body: bytes = b"foreign") -> None:
    """Publish to the exchange as a foreign producer does."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(EXCHANGE, "order.paid", body, properties, mandatory=True)


def with_headers(table: bytes) -> RawProperties:
    return RawProperties(struct.pack(">HI", 1 << 13, len(table)) + table)


def nested(depth: int) -> bytes:
    """A header table that holds a table that holds a table."""
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return table


# --------------------------------------------------------------------------- cannot connect


@pytest.fixture(params=["ping", "admin", "publisher", "consumer"])
def complaint_of(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """What is said of a broker that cannot be used, by each part that can say it."""

    def complain(broker: Broker) -> str:
        if request.param in ("ping", "admin"):
            with pytest.raises(BrokerUnavailable) as caught:
                getattr(broker, request.param)()
            assert caught.value.exit_code == 3
            return str(caught.value)
        part = getattr(broker, request.param)("test")
        try:
            if request.param == "consumer":
                part.start({QUEUE: 1}, lambda deliveries: None)
                assert not part.wait_consuming(0.3)
            else:
                assert not part.wait_ready(0.3)
            wait_until(lambda: "connecting" not in str(part.trouble), 15, "a reason")
            return str(part.trouble)
        finally:
            part.close(0) if request.param == "consumer" else part.close()

    return complain


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_refused_connection_names_host_and_port(complaint_of) -> None:  # type: ignore[no-untyped-def]
    port = free_port()
    broker = RabbitMQBroker(f"amqp://guest:secret@127.0.0.1:{port}/", EXCHANGE)
    complaint = complaint_of(broker)
    assert f"127.0.0.1:{port}" in complaint
    assert "refused" in complaint
    assert "secret" not in complaint


def test_an_unknown_host_is_named(complaint_of) -> None:  # type: ignore[no-untyped-def]
    complaint = complaint_of(RabbitMQBroker("amqp://guest:secret@nowhere.invalid/", EXCHANGE))
    assert "nowhere.invalid" in complaint
    assert "resolve" in complaint


def test_a_wrong_password_is_said_to_be_one(complaint_of, broker_url: str) -> None:  # type: ignore[no-untyped-def]
    url = broker_url.replace("guest:guest", "guest:wr0ng-one")
    complaint = complaint_of(RabbitMQBroker(url, EXCHANGE))
    assert "wrong user or password" in complaint
    assert "'guest'" in complaint
    assert "wr0ng" not in complaint


def test_a_missing_virtual_host_is_named(complaint_of, broker_url: str) -> None:  # type: ignore[no-untyped-def]
    url = broker_url.rsplit("/", 1)[0] + "/missing-one"
    complaint = complaint_of(RabbitMQBroker(url, EXCHANGE))
    assert "no virtual host 'missing-one'" in complaint


def test_a_user_without_permissions_is_told_so(  # type: ignore[no-untyped-def]
    complaint_of, broker_url: str, rabbitmq: RabbitMQ
) -> None:
    rabbitmq.eval('catch rabbit_auth_backend_internal:add_user(<<"eve">>, <<"pw">>, <<"test">>)')
    url = broker_url.replace("guest:guest", "eve:pw")
    complaint = complaint_of(RabbitMQBroker(url, EXCHANGE))
    assert "'eve'" in complaint
    assert "permissions" in complaint


def test_tls_to_a_plain_port_is_recognised(complaint_of, broker_url: str) -> None:  # type: ignore[no-untyped-def]
    url = broker_url.replace("amqp://", "amqps://")
    assert "does not speak TLS" in complaint_of(RabbitMQBroker(url, EXCHANGE))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return self_signed_certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def tls_port(certificate: tuple[str, str], rabbitmq: RabbitMQ) -> Iterator[int]:
    port = urlsplit(rabbitmq.url).port
    assert port is not None
    proxy = TLSProxy(*certificate, target_port=port)
    yield proxy.port
    proxy.close()


def secured(broker_url: str, tls_port: int, host: str, certificate: str | None) -> str:
    vhost = urlsplit(broker_url).path
    query = "" if certificate is None else f"?cacertfile={certificate}"
    return f"amqps://guest:guest@{host}:{tls_port}{vhost}{query}"


def test_plain_to_a_tls_port_is_recognised(complaint_of, tls_port: int) -> None:  # type: ignore[no-untyped-def]
    broker = RabbitMQBroker(f"amqp://guest:guest@localhost:{tls_port}/", EXCHANGE)
    complaint = complaint_of(broker)
    assert "amqps://" in complaint


def test_an_unknown_authority_is_named(complaint_of, broker_url: str, tls_port: int) -> None:  # type: ignore[no-untyped-def]
    broker = RabbitMQBroker(secured(broker_url, tls_port, "localhost", None), EXCHANGE)
    complaint = complaint_of(broker)
    assert "unknown authority" in complaint
    assert "cacertfile" in complaint


def test_a_certificate_for_another_host_is_refused(  # type: ignore[no-untyped-def]
    complaint_of, broker_url: str, tls_port: int, certificate: tuple[str, str]
) -> None:
    broker = RabbitMQBroker(secured(broker_url, tls_port, "127.0.0.1", certificate[0]), EXCHANGE)
    assert "another host name" in complaint_of(broker)


def test_everything_works_over_tls(
    broker_url: str, tls_port: int, certificate: tuple[str, str]
) -> None:
    url = secured(broker_url, tls_port, "localhost", certificate[0])
    bench = Bench(RabbitMQBroker(url, EXCHANGE))
    try:
        bench.broker.ping()
        bench.declare("#")
        assert set(bench.publish(*(message(n) for n in range(2_000)))) == {ROUTED}
        consumer, received = bench.consume({QUEUE: 2_000})
        consumer.settle([Settlement(one) for one in received.wait(2_000)])
        consumer.close(5)
        bench.wait_counts({QUEUE: 0})
    finally:
        bench.close()


def test_a_certificate_file_that_cannot_be_read_is_named(broker_url: str, tmp_path: Path) -> None:
    url = broker_url.replace("amqp://", "amqps://") + f"?cacertfile={tmp_path}/none.pem"
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        RabbitMQBroker(url, EXCHANGE).ping()
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        RabbitMQBroker(url, EXCHANGE).admin()


def test_another_host_of_the_url_takes_over(broker_url: str) -> None:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}/;{broker_url}"
    bench = Bench(RabbitMQBroker(url, EXCHANGE))
    try:
        bench.broker.ping()
        bench.declare("#")
        assert bench.publish(message()) == [ROUTED]
        _, received = bench.consume()
        received.wait(1)
    finally:
        bench.close()


def test_each_host_that_fails_is_named_with_its_reason(broker_url: str) -> None:
    url = (
        f"amqp://guest:pw1@127.0.0.1:{free_port()}/;"
        f"{broker_url.replace('guest:guest', 'guest:pw2')}"
    )
    broker = RabbitMQBroker(url, EXCHANGE)
    assert "pw1" not in broker.url + repr(broker._addresses)
    with pytest.raises(BrokerUnavailable, match=r"refused: no broker.*; .*wrong user") as caught:
        broker.ping()
    assert "pw2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://localhost/", "'http'"),
        ("amqp://localhost:99999/", "Port out of range"),
        ("amqp://localhost/?speed=9", "'speed'"),
        ("amqp://localhost/?heartbeat=-1", "heartbeat"),
        ("amqp://u:hidden@localhost/?x=1;http://u:hidden@localhost", "unknown option"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        RabbitMQBroker(url, EXCHANGE)
    assert "hidden" not in str(caught.value)


def test_connections_carry_their_name_on_the_broker(rabbit: Bench, rabbitmq: RabbitMQ) -> None:
    rabbit.publisher("shop dispatcher 17")
    shown = rabbitmq.eval(
        "[rabbit_networking:connection_info(Pid, [client_properties]) "
        "|| Pid <- rabbit_networking:connections()]"
    )
    assert "shop dispatcher 17" in shown


def test_an_admin_whose_connection_was_closed_goes_on(rabbit: Bench, rabbitmq: RabbitMQ) -> None:
    rabbit.declare("#")
    admin = rabbit.admin()
    rabbitmq.close_connections()
    assert list(admin.stats([QUEUE])) == [QUEUE]


# ------------------------------------------------------------------------- foreign messages


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        (with_headers(nested(500)), "nested"),
        (with_headers(b"\x01aT" + struct.pack(">Q", 10**12)), "timestamp"),
        (RawProperties(struct.pack(">HQ", 1 << 6, 10**12)), "timestamp"),
    ],
)
def test_headers_that_cannot_be_read_make_an_undecodable_delivery(
    rabbit: Bench, broker_url: str, properties: RawProperties, reason: str
) -> None:
    rabbit.declare("#")
    send_raw(broker_url, properties)
    rabbit.publish(message(1))
    consumer, received = rabbit.consume()
    foreign, own = received.wait(2)
    assert foreign.undecodable is not None
    assert reason in foreign.undecodable
    assert (foreign.message.body, foreign.message.routing_key) == (b"foreign", "order.paid")
    assert own.message == message(1)
    consumer.settle([Settlement(foreign, (Forward(foreign.message, None),)), Settlement(own)])
    rabbit.wait_counts({QUEUE: 0, DLQ: 1})
    assert consumer.wait_consuming(0)


def test_an_operator_can_look_at_what_cannot_be_read(rabbit: Bench, broker_url: str) -> None:
    rabbit.declare("#")
    send_raw(broker_url, with_headers(nested(500)), b"deep")
    send_raw(broker_url, with_headers(b"\x01aT" + struct.pack(">Q", 10**12)), b"late")
    seen = list(rabbit.admin().browse(QUEUE, 10))
    assert [one.body for one in seen] == [b"deep", b"late"]
    assert rabbit.admin().transfer(QUEUE, lambda one: one, DLQ, 10) == 2
    rabbit.wait_counts({QUEUE: 0, DLQ: 2})


def test_a_foreign_routing_key_that_is_not_text_is_shown_and_consumed(
    rabbit: Bench, broker_url: str
) -> None:
    rabbit.declare("#")
    with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        raw = pika.spec.Basic.Publish(exchange=EXCHANGE, mandatory=True)
        encoded = b"\x00\x00" + bytes([len(EXCHANGE)]) + EXCHANGE.encode() + b"\x03a\xffb\x01"
        raw.encode = lambda: [encoded]
        channel._impl._send_method(raw, (pika.BasicProperties(), b"foreign"))
    rabbit.wait_counts({QUEUE: 1})
    assert [one.body for one in rabbit.admin().browse(QUEUE, 1)] == [b"foreign"]
    _, received = rabbit.consume()
    assert received.wait(1)[0].message.routing_key == "a\\xffb"


def test_a_forged_x_death_does_not_make_the_broker_drop_a_retry(
    rabbit: Bench, broker_url: str
) -> None:
    rabbit.declare("#")
    forged = [
        {
            "count": 1, "reason": "expired", "queue": queue, "exchange": "",
            "routing-keys": [queue],
        }
        for queue in (QUEUE, retry_queue_name(QUEUE, 1_000), DLQ)
    ]  # fmt: skip
    send_raw(broker_url, pika.BasicProperties(headers={"x-death": forged}))
    consumer, received = rabbit.consume()
    delivery = received.wait(1)[0]
    consumer.settle([Settlement(delivery, (Forward(delivery.message, 1_000),))])
    assert received.wait(2)[1].message.body == b"foreign"


def test_a_forged_copy_header_does_not_multiply_a_retry(rabbit: Bench, broker_url: str) -> None:
    rabbit.declare("#")
    rabbit.declare("never", queue="shop.ledger")
    send_raw(broker_url, pika.BasicProperties(headers={"CC": ["never"], "BCC": ["never"]}))
    rabbit.wait_counts({QUEUE: 1, "shop.ledger": 1})
    rabbit.admin().purge("shop.ledger")
    consumer, received = rabbit.consume()
    delivery = received.wait(1)[0]
    copy = delivery.message.with_headers({"CC": ["shop.ledger"], "BCC": ["shop.ledger"]})
    consumer.settle([Settlement(delivery, (Forward(copy, None),))])
    rabbit.wait_counts({QUEUE: 0, DLQ: 1, "shop.ledger": 0})


def test_huge_foreign_headers_are_parked_without_what_does_not_fit(
    rabbit: Bench, broker_url: str
) -> None:
    rabbit.declare("#")
    huge = {"small": "kept", "large": "x" * 60_000, "larger": "y" * 68_000}
    send_raw(broker_url, pika.BasicProperties(headers=huge))
    consumer, received = rabbit.consume()
    delivery = received.wait(1)[0]
    assert delivery.message.headers == huge
    copy = delivery.message.with_headers(
        {"eventbus-reason": "r" * 9_999, "eventbus-traceback": "t" * 99_999}
    )
    consumer.settle([Settlement(delivery, (Forward(copy, None),))])
    rabbit.wait_counts({QUEUE: 0, DLQ: 1})
    (parked,) = rabbit.admin().browse(DLQ, 1)
    assert parked.headers["small"] == "kept"
    assert parked.headers["large"] == huge["large"]
    assert parked.headers["eventbus-reason"].startswith("rrr")
    assert "larger" not in parked.headers


# ------------------------------------------------------------------------------- publishing


def test_a_full_queue_that_rejects_makes_refused(rabbit: Bench) -> None:
    rabbit.declare("never")
    full = Queue(
        "shop.full",
        {"x-queue-type": "quorum", "x-max-length": 3, "x-overflow": "reject-publish"},
    )
    rabbit.admin().declare(Topology((Exchange(EXCHANGE),), (full,)))
    rabbit.declare("order.*", queue="shop.healthy")
    with closing(pika.BlockingConnection(pika.URLParameters(rabbit_url(rabbit)))) as connection:
        connection.channel().queue_bind("shop.full", EXCHANGE, "order.paid")
    part = rabbit.publisher()
    outcomes: list[Confirmation] = []

    def refused() -> bool:
        # The queue tells of its state only after it is full: the first few get through.
        outcomes.extend(part.publish([message(1), message(2, "nobody.wants")]).result(10))
        return REFUSED in outcomes

    wait_until(refused, 10, "a message is refused")
    assert set(outcomes[::2]) == {ROUTED, REFUSED}
    assert set(outcomes[1::2]) == {UNROUTED}
    rabbit.wait_counts({"shop.healthy": len(outcomes) // 2})


def rabbit_url(bench: Bench) -> str:
    address = bench.broker._addresses[0]  # type: ignore[attr-defined]
    return f"amqp://guest:guest@{address.host}:{address.port}/{address.vhost}"


@pytest.mark.parametrize(
    "bad",
    [
        Message(b"", "k" * 256),
        Message(b"", "k", {"large": "x" * 131_072}),
        Message(b"", "k", {"n" * 256: "long name"}),
        Message(b"", "k", {"set": {1, 2}}),
        Message(b"", "k", {"huge": 2**64}),
        Message(b"", "k", message_id="i" * 256),
        Message(b"", "k", timestamp=-1),
    ],
)
def test_what_amqp_cannot_carry_is_refused_and_the_rest_goes_on(
    rabbit: Bench, bad: Message, caplog: pytest.LogCaptureFixture
) -> None:
    rabbit.declare("#")
    assert rabbit.publish(message(1), bad, message(2), bad, message(3, "")) == [
        ROUTED, UNSENDABLE, ROUTED, UNSENDABLE, ROUTED,
    ]  # fmt: skip
    assert "cannot be published" in caplog.text
    _, received = rabbit.consume()
    received.wait(3)


def test_an_exchange_of_another_type_is_named_and_nothing_hangs(rabbit: Bench) -> None:
    admin = rabbit.admin()
    admin.declare(Topology((Exchange(EXCHANGE, "fanout"),)))
    part = rabbit.broker.publisher("test")
    try:
        assert not part.wait_ready(0.5)
        wait_until(lambda: "PRECONDITION_FAILED" in str(part.trouble), 10, "the broker's reason")
        assert EXCHANGE in str(part.trouble)
        assert part.publish([message()]).result(5) == [UNKNOWN]
    finally:
        part.close()


def test_more_than_the_window_is_published_in_order(
    rabbit: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "MAX_UNCONFIRMED", 7)
    monkeypatch.setattr(publisher, "MAX_UNCONFIRMED_BYTES", 10_000)
    rabbit.declare("#")
    large = Message(b"x" * 50_000, "order.paid", message_id="large")
    batch = [message(n) if n % 10 else large for n in range(500)]
    part = rabbit.publisher()
    futures = [part.publish(batch[n : n + 100]) for n in range(0, 500, 100)]
    assert [one for future in futures for one in future.result(30)] == [ROUTED] * 500
    _, received = rabbit.consume({QUEUE: 1_000})
    assert [one.message for one in received.wait(500)] == batch


def test_a_message_larger_than_the_broker_takes_is_refused_by_name(
    rabbit: Bench, rabbitmq: RabbitMQ
) -> None:
    rabbit.declare("#")
    rabbitmq.eval("application:set_env(rabbit, max_message_size, 5000)")
    try:
        part = rabbit.publisher()
        small, large = message(1), Message(b"x" * 6_000, "order.paid")
        confirmations = part.publish([small, large, small]).result(10)
        assert confirmations[1] is UNSENDABLE
        assert confirmations[2] is UNKNOWN
        assert part.wait_ready(10)
        assert part.publish([small]).result(10) == [ROUTED]
    finally:
        rabbitmq.eval("application:set_env(rabbit, max_message_size, 134217728)")


def test_a_memory_alarm_is_trouble_until_it_is_over(
    rabbit: Bench,
    rabbitmq: RabbitMQ,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 1.0)
    rabbit.declare("#")
    part = rabbit.publisher()
    sent: list[Future[list[Confirmation]]] = []

    def blocked() -> bool:
        # The alarm reaches the connection a moment later; until then messages get through.
        if "blocks publishing" in str(part.trouble):
            return True
        sent.append(part.publish([message(len(sent))]))
        return False

    rabbitmq.set_memory_alarm()
    try:
        wait_until(blocked, 10, "trouble")
        assert part.wait_ready(0) is False
        outcomes = [future.result(10) for future in sent]
        assert outcomes[-1] == [UNKNOWN]
        # Nothing more is sent meanwhile: it would all arrive when the alarm is over.
        assert part.publish([message(77)]).result(0.5) == [UNKNOWN]
    finally:
        rabbitmq.clear_memory_alarm()
    assert part.wait_ready(10)
    assert part.trouble is None
    assert part.publish([message(99)]).result(10) == [ROUTED]
    _, received = rabbit.consume()
    wait_until(lambda: message(99).body in received.bodies, 10, "the message after the alarm")
    assert message(77).body not in received.bodies
    # Only a connection that stays open is told when the alarm is over.
    assert " broke: " not in caplog.text


def test_a_connection_that_gives_no_confirms_is_given_up(
    rabbit: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "CONFIRM_SECONDS", 0.5)
    rabbit.declare("#")
    part = rabbit.publisher()
    monkeypatch.setattr(publisher.ConfirmChannel, "on_confirm", lambda *arguments: None)
    assert part.publish([message(1)]).result(5) == [UNKNOWN]
    wait_until(lambda: "no confirm" in str(part.trouble) or part.wait_ready(0), 5, "dropped")
    monkeypatch.undo()
    assert part.wait_ready(10)
    wait_until(lambda: part.publish([message(2)]).result(5) == [ROUTED], 10, "confirmed again")


# -------------------------------------------------------------------------------- consuming


def test_a_missing_queue_is_trouble_until_it_is_declared(rabbit: Bench) -> None:
    consumer, received = rabbit.consumer(), []
    rabbit.declare("#", queue="shop.ledger")
    consumer.start({QUEUE: 10, "shop.ledger": 10}, received.extend)
    wait_until(lambda: "NOT_FOUND" in str(consumer.trouble), 10, "trouble")
    assert QUEUE in str(consumer.trouble)
    wait_until(lambda: "shop.ledger" not in str(consumer.trouble), 10, "no trouble with the other")
    rabbit.publish(message(1))
    wait_until(lambda: len(received) == 1, 10, "the other queue is consumed all the same")
    rabbit.declare("#")
    assert consumer.wait_consuming(10)
    assert consumer.trouble is None


def test_a_deleted_queue_is_consumed_again_once_it_is_back(rabbit: Bench, broker_url: str) -> None:
    rabbit.declare("#")
    consumer, received = rabbit.consume()
    with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
        connection.channel().queue_delete(QUEUE)
    wait_until(lambda: not consumer.wait_consuming(0), 10, "the cancellation is noticed")
    assert QUEUE in str(consumer.trouble)
    rabbit.declare("#")
    assert consumer.wait_consuming(10), consumer.trouble
    rabbit.publish(message(1))
    assert received.wait(1)[0].message == message(1)


def test_after_lost_connections_consumer_and_prefetch_are_back(
    rabbit: Bench, rabbitmq: RabbitMQ
) -> None:
    rabbit.declare("#")
    part = rabbit.publisher()
    part.publish([message(n) for n in range(50)]).result(10)
    consumer, received = rabbit.consume({QUEUE: 10})
    old = received.wait(10)
    rabbitmq.close_connections()
    fresh = received.wait(20)[10:]
    assert consumer.wait_consuming(10)
    assert all(one.redelivered for one in fresh)
    consumer.settle([Settlement(one) for one in old])  # in vain, and without harm
    rabbit.wait_counts({QUEUE: 40})
    assert len(received.deliveries) == 20
    consumer.settle([Settlement(one) for one in fresh])
    received.wait(30)
    assert part.wait_ready(10)
    assert part.publish([message(99)]).result(10) == [ROUTED]


def test_a_pause_outlives_a_lost_connection(rabbit: Bench, rabbitmq: RabbitMQ) -> None:
    rabbit.declare("#")
    rabbit.declare("#", queue="shop.ledger")
    consumer, received = rabbit.consume({QUEUE: 10, "shop.ledger": 10})
    consumer.pause(QUEUE)
    rabbitmq.close_connections()
    wait_until(lambda: rabbit.publish(message(1)) == [ROUTED], 20, "a message in both queues")
    assert [one.queue for one in received.wait(1)] == ["shop.ledger"]
    assert consumer.wait_consuming(10)
    assert consumer.trouble is None
    rabbit.wait_counts({QUEUE: 1})
    consumer.resume(QUEUE)
    received.wait(2)


def test_what_a_closed_channel_delivered_does_not_settle_what_its_successor_did(
    rabbit: Bench,
) -> None:
    rabbit.declare("#")
    rabbit.publish(*(message(n) for n in range(50)))
    consumer, received = rabbit.consume({QUEUE: 10})
    old = received.wait(10)
    # An unknown delivery tag makes the broker close the channel and keep the connection; the next
    # channel has the same number and counts its tags from 1 again.
    channel, _ = old[0].tag
    consumer.settle([Settlement(replace(old[0], tag=(channel, 9_999)))])
    fresh = received.wait(20)[10:]
    assert consumer.wait_consuming(10), consumer.trouble
    consumer.settle([Settlement(one) for one in old])
    consumer.close(5)
    rabbit.wait_counts({QUEUE: 50})
    assert {one.message.body for one in fresh} == {one.message.body for one in old}


@pytest.mark.parametrize("delay_ms", [1_000, None])
def test_a_missing_retry_or_dead_letter_queue_is_declared_and_the_message_goes_on(
    rabbit: Bench, broker_url: str, delay_ms: int | None
) -> None:
    rabbit.declare("#")
    rabbit.publish(message(1))
    with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
        channel = connection.channel()
        channel.queue_delete(retry_queue_name(QUEUE, 1_000))
        channel.queue_delete(DLQ)
    consumer, received = rabbit.consume()
    delivery = received.wait(1)[0]
    consumer.settle([Settlement(delivery, (Forward(delivery.message, delay_ms),))])
    if delay_ms is None:
        wait_until(lambda: rabbit.admin().stats([DLQ]), 10, "the queue is declared")
        rabbit.wait_counts({QUEUE: 0, DLQ: 1})
    else:
        assert received.wait(2)[1].message.without_worker_headers() == message(1)
    rabbit.declare("#")  # what was declared on the way is what the topology says


def test_a_refused_copy_keeps_its_delivery_and_is_sent_again(
    rabbit: Bench, broker_url: str
) -> None:
    rabbit.declare("#")
    with closing(pika.BlockingConnection(pika.URLParameters(broker_url))) as connection:
        channel = connection.channel()
        channel.queue_delete(DLQ)
        channel.queue_declare(
            DLQ,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"},
        )
        channel.confirm_delivery()
        for _ in range(3):
            try:
                channel.basic_publish("", DLQ, b"filler")
            except pika.exceptions.NackError:
                break
        rabbit.publish(message(1))
        consumer, received = rabbit.consume()
        delivery = received.wait(1)[0]
        consumer.settle([Settlement(delivery, (Forward(delivery.message, None),))])
        with pytest.raises(AssertionError):
            wait_until(lambda: rabbit.counts(QUEUE) != [0] or len(received.deliveries) > 1, 1)
        channel.queue_purge(DLQ)

    def parked() -> bool:
        return any(one.body == message(1).body for one in rabbit.admin().browse(DLQ, 10))

    wait_until(parked, 15, "the copy is parked once there is room")
    consumer.close(5)
    assert rabbit.counts(QUEUE) == [0]


def test_a_transfer_into_a_full_queue_says_so_and_loses_nothing(rabbit: Bench) -> None:
    rabbit.declare("#")
    full = Queue(
        "shop.full", {"x-queue-type": "quorum", "x-max-length": 3, "x-overflow": "reject-publish"}
    )
    rabbit.admin().declare(Topology(queues=(full,)))
    rabbit.publish(*(message(n) for n in range(1_000)))
    with pytest.raises(EventBusError, match=r"'shop\.full' refuses"):
        rabbit.admin().transfer(QUEUE, lambda one: one, "shop.full", 1_000)
    rabbit.wait_counts({QUEUE: 1_000 - rabbit.counts("shop.full")[0]})


def test_browsing_and_moving_go_beyond_one_window(
    rabbit: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "WINDOW", 4)
    rabbit.declare("#")
    rabbit.publish(*(message(n) for n in range(50)))
    admin = rabbit.admin()
    assert len(list(admin.browse(QUEUE, 30))) == 30

    def odd(one: Message) -> Message | None:
        return one if int(one.body[10:-1]) % 2 else None

    assert admin.transfer(QUEUE, odd, DLQ, 1_000) == 25
    rabbit.wait_counts({QUEUE: 25, DLQ: 25})


def test_many_failing_messages_are_all_parked(rabbit: Bench) -> None:
    rabbit.declare("#")
    rabbit.publish(*(message(n) for n in range(3_000)))
    consumer, received = rabbit.consume({QUEUE: 1_000})
    settled = 0
    while settled < 3_000:
        new = received.wait(settled + 1)[settled:]
        settled += len(new)
        consumer.settle([Settlement(one, (Forward(one.message, None),)) for one in new])
    rabbit.wait_counts({DLQ: 3_000})
    consumer.close(10)
    assert rabbit.counts(QUEUE, DLQ) == [0, 3_000]
