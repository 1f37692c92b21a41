"""Settings: where they come from, what they refuse, and that no password is ever shown."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import make_url

from eventbus import EventBus
from eventbus.errors import ConfigurationError
from eventbus.settings import Settings, mask, parse_duration


def load(environment: dict[str, str] | None = None, **given: Any) -> Settings:
    return Settings.load(given, environment or {})


# -- precedence ----------------------------------------------------------------------------------


def test_the_default_is_embedded_in_a_file() -> None:
    settings = load()
    assert settings == Settings()
    assert settings.embedded
    assert settings.broker_database_url == settings.database_url == "sqlite:///eventbus.db"


def test_a_keyword_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"EVENTBUS_EXCHANGE": "from-environment", "EVENTBUS_LOG_FORMAT": "json"}
    settings = load(environment, exchange="from-keyword")
    assert settings.exchange == "from-keyword"
    assert settings.log_format == "json"
    assert settings.log_level == "INFO"


def test_an_empty_variable_and_a_keyword_of_none_count_as_unset() -> None:
    environment = {"EVENTBUS_EXCHANGE": "", "EVENTBUS_LOG_FORMAT": "json"}
    assert load(environment, exchange=None).exchange == "events"
    assert load(environment, log_format=None).log_format == "json"


def test_the_bus_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTBUS_EXCHANGE", "ours")
    assert EventBus("shop").settings.exchange == "ours"
    assert EventBus("shop", exchange="theirs").settings.exchange == "theirs"


def test_an_unknown_setting_is_named_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"no setting 'brokerurl'.*broker_url"):
        load(brokerurl="amqp://localhost")


def test_the_source_of_a_bad_value_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^EVENTBUS_LOG_LEVEL='loud': expected one of"):
        load({"EVENTBUS_LOG_LEVEL": "loud"})
    with pytest.raises(ConfigurationError, match=r"^log_level='loud'"):
        load(log_level="loud")


def test_the_broker_is_embedded_unless_its_url_is_amqp() -> None:
    assert not load(broker_url="amqp://localhost").embedded
    assert not load(broker_url="AMQPS://localhost").embedded
    shared = load(broker_url="postgresql://localhost/broker")
    assert shared.embedded
    assert shared.broker_database_url == "postgresql://localhost/broker"


def test_a_sqlalchemy_url_keeps_its_password() -> None:
    url = make_url("postgresql+psycopg://app:s3cret@localhost/shop")
    settings = load(database_url=url, broker_url=url)
    assert settings.database_url == "postgresql+psycopg://app:s3cret@localhost/shop"
    assert settings.broker_url == settings.database_url


def test_what_is_unsafe_is_said() -> None:
    assert load().unsafe() == []
    (sentence,) = load(idempotency_failure="continue").unsafe()
    assert "more than once" in sentence


# -- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7d", 604_800), ("30s", 30), ("500ms", 0.5), ("1.5h", 5_400), ("2 m", 120), ("1w", 604_800),
     ("45", 45), (45, 45), (0.25, 0.25), (timedelta(minutes=1), 60)],
)  # fmt: skip
def test_durations(value: Any, seconds: float) -> None:
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    ["", "soon", "7 days", "-1s", "0", 0, -1, True, None, "1e5", "٣s", "9" * 400, float("nan"),
     float("inf"), timedelta(0), timedelta(seconds=-1), "999999999999w"],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "shop.db"),
        ("database_url", "oracle://localhost/shop"),
        ("database_url", "postgres://localhost/shop"),
        ("database_url", "sqlite://"),
        ("database_url", "sqlite:///:memory:"),
        ("database_url", "sqlite:///file::memory:?uri=true"),
        ("database_url", "sqlite:///file:shop?mode=memory&uri=true"),
        ("database_url", "postgresql://localhost:99999/shop"),
        ("database_url", 7),
        ("broker_url", "localhost:5672"),
        ("broker_url", "http://localhost"),
        ("broker_url", "amqp://localhost:99999"),
        ("broker_url", "amqp://localhost:0"),
        ("broker_url", "amqp://localhost:port"),
        ("broker_url", "amqp://u:p@h@localhost"),
        ("broker_url", "amqp://u:p/w@localhost"),
        ("broker_url", "amqp://u:123?x@localhost"),
        ("broker_url", "amqp://[::1"),
        ("broker_url", "amqp://one;two"),
        ("broker_url", "amqp://one;http://two"),
        ("broker_url", "amqp://one;amqp://two:99999;amqp://three"),
        ("broker_url", "amqp://one;"),
        ("redis_url", "localhost"),
        ("redis_url", "memcached://localhost"),
        ("redis_url", "redis://localhost:x"),
        ("exchange", "amq.topic"),
        ("exchange", "two words"),
        ("exchange", "x" * 128),
        ("idempotency_ttl", "never"),
        ("claim_lease", 0),
        ("unroutable", "drop"),
        ("idempotency_failure", "ignore"),
        ("max_message_bytes", "many"),
        ("max_message_bytes", 10),
        ("max_message_bytes", 10**10),
        ("log_level", "loud"),
        ("log_format", "xml"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}=") as caught:
        load(**{name: value})
    assert caught.value.exit_code == 2
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "postgresql+psycopg://app:p%40ss@db:5432/shop?sslmode=require"),
        ("database_url", "postgresql://u:p@h/shop?options=-c%20x@y"),
        ("database_url", "mysql+pymysql://app@db/shop"),
        ("database_url", "sqlite:////var/lib/shop.db"),
        ("broker_url", "amqp://app:p%2Fw@one:5672/vhost;amqps://app:q@two:5671/vhost"),
        ("broker_url", "amqp://"),
        ("broker_url", "amqp://[::1]:5672/"),
        ("redis_url", "redis://:secret@localhost:6379/0"),
        ("redis_url", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_good_url_is_taken_as_it_is(name: str, value: str) -> None:
    assert getattr(load(**{name: value}), name) == value


# -- passwords -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("amqp://app:secret@host:5672/vhost", "amqp://app:***@host:5672/vhost"),
        ("amqp://app@host/vhost", "amqp://app@host/vhost"),
        ("amqp://host:5672", "amqp://host:5672"),
        ("amqp://[::1]:5672/", "amqp://[::1]:5672/"),
        ("redis://:secret@host", "redis://:***@host"),
        ("amqp://a:x@one;amqps://b:y@two/v", "amqp://a:***@one;amqps://b:***@two/v"),
        ("amqp://a:p@ss@host", "amqp://a:***@host"),
        ("amqp://a:p/ss@host", "amqp://a:***@host"),
        ("amqp://a:p;ss@host", "amqp://a:***@host"),
        ("amqp://a:p;ss@one;amqp://b:q@two", "amqp://a:***@one;amqp://b:***@two"),
        ("app:secret@host", "app:***@host"),
        ("amqp://app:secret", "amqp://app:***"),
        ("amqp://app:secret/vhost", "amqp://app:***/vhost"),
        ("postgresql://h/db?user=a&password=secret", "postgresql://h/db?user=a&password=***"),
        ("postgresql://h/db?sslpassword=secret&x=1", "postgresql://h/db?sslpassword=***&x=1"),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
    ],
)
def test_masking(url: str, masked: str) -> None:
    assert mask(url) == masked


_nasty = st.text("abcXYZ019@:/?#;[]%&= \\ü", min_size=1, max_size=12)


@given(
    password=_nasty, shape=st.integers(0, 7), port=st.sampled_from(["", ":5672", ":99999", ":x"])
)
@example(password="s3cret", shape=0, port=":99999")
@example(password="S#CRET", shape=0, port="")
@example(password="://", shape=6, port="")
@example(password=";a://", shape=0, port="")
@example(password=";0://", shape=1, port=":x")
def test_no_error_and_no_mask_shows_a_password(password: str, shape: int, port: str) -> None:
    # Marks that cannot be part of anything else in the text, around whatever the password holds.
    secret = f"Qq{password}Zz"
    url = [
        f"amqp://app:{secret}@host{port}/v",
        f"amqp://app:{secret}@host{port}/v;amqp://app:{secret}@two{port}/v",
        f"redis://:{secret}@host{port}/0",
        f"postgresql://app:{secret}@host{port}/shop",
        f"mysql://app:{secret}@host{port}/shop",
        f"http://app:{secret}@host{port}/",
        f"app:{secret}@host{port}",
        f"amqp://app:{quote(secret, safe='')}@host{port}/v;http://b:{quote(secret, safe='')}@c",
    ][shape]
    assert_hidden(mask(url), secret)
    for name in ("database_url", "broker_url", "redis_url", "exchange", "claim_lease"):
        try:
            settings = load(**{name: url})
        except ConfigurationError as error:
            assert_hidden(str(error), secret)
            assert error.__cause__ is None
        else:
            assert_hidden(repr(settings), secret)


def assert_hidden(text: str, secret: str) -> None:
    assert secret not in text
    assert "Qq" not in text, text
    assert "Zz" not in text, text


def test_neither_a_bus_nor_its_settings_show_a_password() -> None:
    bus = EventBus("shop", broker_url="amqp://app:s3cret@localhost", database_url="sqlite:///a.db")
    assert "s3cret" not in repr(bus) + repr(bus.settings) + str(bus.settings)
    assert "broker_url='amqp://app:***@localhost'" in repr(bus.settings)


def test_reading_settings_changes_no_environment() -> None:
    before = dict(os.environ)
    EventBus("shop")
    assert dict(os.environ) == before


# -- contracts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [
        ("registry_url", "https://key:secret@schemas.example:8081/path", None),
        ("registry_url", "http://127.0.0.1:8081", None),
        ("registry_url", "postgresql+psycopg://me@host/schemas", None),
        ("registry_url", make_url("mysql+pymysql://me:secret@host/db"), "mysql+pymysql://me:secret@host/db"),
        ("contracts", "some/folder", None),
        ("require_contract", "yes", True),
        ("require_contract", "0", False),
        ("require_contract", False, False),
        ("release", "1.4.2+deb12", None),
    ],
)  # fmt: skip
def test_settings_of_contracts_are_taken(name: str, given: Any, taken: Any) -> None:
    assert getattr(load(**{name: given}), name) == (given if taken is None else taken)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("registry_url", "ftp://host", "expected the address of a schema registry"),
        ("registry_url", "localhost:8081", "expected the address of a schema registry"),
        ("registry_url", "https://", "has no host"),
        ("registry_url", "https://host:99999", "port"),
        ("registry_url", "https://me:p@ss@host", "write them as '%40'"),
        ("registry_url", "sqlite:///:memory:", "in-memory"),
        ("contracts", "  ", "a folder's path"),
        ("require_contract", "perhaps", "expected one of true"),
        ("release", "1 4", "expected a release"),
        ("release", "x" * 101, "expected a release"),
    ],
)
def test_settings_of_contracts_that_cannot_be_used_are_named(
    name: str, given: Any, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        load(**{name: given})
    assert name in str(raised.value)
    assert "p@ss" not in str(raised.value)


def test_the_password_of_the_registry_is_not_shown() -> None:
    settings = load(registry_url="https://key:hidden@schemas.example")
    assert "hidden" not in repr(settings)
    assert "schemas.example" in repr(settings)
