"""Settings: keyword, else environment, else default.

Every setting has one name: ``EventBus("shop", broker_url=...)``, ``EVENTBUS_BROKER_URL``,
``EVENTBUS = {"broker_url": ...}`` in Django, ``EVENTBUS_BROKER_URL`` in a Flask configuration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from eventbus.errors import ConfigurationError

BINARY, STRUCTURED = "binary", "structured"

DEFAULT_DATABASE_URL = "sqlite:///eventbus.db"

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?\s*", re.ASCII)
#: Between two addresses, and not a ';' inside a password.
_ADDRESSES = re.compile(r"(?i);(?=amqps?://)")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_NO_PORT = re.compile(r"^([^:/?#\[\]]*|\[[^\]]*\]):(?!\d{1,5}(?:[/?#,;]|$))[^/]+")
_SECRET_OPTION = re.compile(r"(?i)\b([\w-]*(?:pass(?:word|wd)?|secret|token)[\w-]*)=[^&#]*")
_AMQP_SCHEMES = ("amqp", "amqps")
_REDIS_SCHEMES = ("redis", "rediss", "unix")
_DATABASES = ("postgresql", "mysql", "mariadb", "sqlite")
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, repr=False)
class Settings:
    """The settings of one bus, checked.

    Parameters
    ----------
    database_url:
        SQLAlchemy URL of the application's own database, which holds the outbox.
    broker_url:
        ``amqp://`` or ``amqps://`` (several hosts separated by ``;``), or a database URL for the
        embedded broker there; unset: the embedded broker in `database_url`.
    management_url:
        ``http://`` or ``https://`` address of RabbitMQ's management API, which the commands
        ``topology`` and ``doctor`` ask; unset: its usual port on the broker's host.
    redis_url:
        Where idempotency keys are kept; unset: in `database_url`.
    exchange:
        The topic exchange that the services share.
    idempotency_ttl:
        How long a handled event is remembered.
    claim_lease:
        How long a handler's claim on an event outlives the worker that died with it; renewed
        while the handler runs.
    max_starts:
        How often a handler is started for an event without an outcome, because its worker dies
        each time, before the event is parked.
    event_log_retention:
        How long published events are kept.
    unroutable:
        ``log``: an event that no queue is bound for is logged as unrouted and sent again once
        there is one; ``fail``: it stays in the outbox as failed.
    idempotency_failure:
        ``pause``: a worker whose idempotency store is away waits for it; ``continue``: it goes on
        without, at least once (unsafe).
    consumer_timeout:
        How long RabbitMQ waits for a message to be settled (its own ``consumer_timeout``): no
        handler may be allowed to run longer.
    max_message_bytes:
        The largest body that is published or read.
    content_mode:
        How CloudEvents travel: ``binary``, attributes as headers beside the data, or
        ``structured``, both in one JSON document. Workers read either.
    contracts:
        The folder with the lock files of the contracts, relative to the current one.
    registry_url:
        The schema registry: ``http://`` or ``https://`` (with user and password, if it asks for
        them), or a database URL; unset: the tables in `database_url`.
    require_contract:
        Whether an event without a registered contract is refused when it is published.
    release:
        Of the service, as its readers are named by in the registry; unset: the version of the
        installed package.
    log_level, log_format:
        ``text`` or ``json``.
    """

    database_url: str = DEFAULT_DATABASE_URL
    broker_url: str | None = None
    management_url: str | None = None
    redis_url: str | None = None
    exchange: str = "events"
    idempotency_ttl: timedelta = timedelta(days=7)
    claim_lease: timedelta = timedelta(seconds=30)
    max_starts: int = 3
    event_log_retention: timedelta = timedelta(days=7)
    unroutable: str = "log"
    idempotency_failure: str = "pause"
    consumer_timeout: timedelta = timedelta(minutes=30)
    max_message_bytes: int = 1024 * 1024
    content_mode: str = BINARY
    contracts: str = "contracts"
    registry_url: str | None = None
    require_contract: bool = False
    release: str | None = None
    log_level: str = "INFO"
    log_format: str = "text"

    @classmethod
    def load(
        cls,
        given: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        framework: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Merge `given` keywords over the environment over `framework`, and check each value.

        Parameters
        ----------
        given:
            Keywords of the bus.
        environment:
            Where ``EVENTBUS_*`` are looked up; the process's by default.
        framework:
            Settings of the web framework, where there is one.

        Raises
        ------
        ConfigurationError
            Names the setting, where it came from, the value (masked) and what would do.
        """
        environment = os.environ if environment is None else environment
        framework = framework or {}
        unknown = sorted({*given, *framework} - set(_CHECKS))
        if unknown:
            raise ConfigurationError(
                f"there is no setting {unknown[0]!r}; settings: {', '.join(sorted(_CHECKS))}"
            )
        values: dict[str, Any] = {}
        for name, check in _CHECKS.items():
            variable = f"EVENTBUS_{name.upper()}"
            if given.get(name) is not None:
                values[name] = _checked(check, given[name], name)
            elif environment.get(variable):
                values[name] = _checked(check, environment[variable], variable)
            elif framework.get(name) is not None:
                values[name] = _checked(check, framework[name], f"EVENTBUS[{name!r}]")
        return cls(**values)

    def __repr__(self) -> str:
        shown = []
        for item in fields(self):
            value = getattr(self, item.name)
            shown.append(f"{item.name}={(mask(value) if isinstance(value, str) else value)!r}")
        return f"Settings({', '.join(shown)})"

    @property
    def embedded(self) -> bool:
        """Whether the broker is the embedded one."""
        return self.broker_url is None or not is_amqp(self.broker_url)

    @property
    def broker_database_url(self) -> str:
        """The database of the embedded broker."""
        return self.broker_url or self.database_url

    def unsafe(self) -> list[str]:
        """What these settings give up, one sentence each, for the banner and `doctor`."""
        found = []
        if self.idempotency_failure == "continue":
            found.append(
                "idempotency_failure=continue: while the idempotency store is away, an event may "
                "take effect more than once"
            )
        return found


def is_amqp(url: str) -> bool:
    """Whether `url` addresses an AMQP broker."""
    return url.split(":", 1)[0].lower() in _AMQP_SCHEMES


def mask(url: str) -> str:
    """Return `url` with every password replaced by ``***``, also in a list of several hosts.

    Works on text, not on a parsed URL: a URL that cannot be parsed must not leak either. The
    password may itself contain ``@`` and ``/``; all up to the last ``@`` of an address is taken.
    """
    return ";".join(_mask_one(part) for part in _ADDRESSES.split(url))


def _mask_one(url: str) -> str:
    # A "://" may also stand in the password of a text that is no URL.
    found = _SCHEME.match(url)
    scheme = found[0] if found else ""
    rest = url[len(scheme) :]
    login, at, address = rest.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        rest = f"{user}{':***' if colon else ''}@{address}"
    else:
        # What stands where a port would be is a password whose '@' was forgotten.
        rest = _NO_PORT.sub(r"\1:***", rest)
    return scheme + _SECRET_OPTION.sub(r"\1=***", rest)


def parse_duration(value: Any) -> timedelta:
    """Read ``7d``, ``30s``, ``500ms``, a number of seconds or a timedelta.

    Raises
    ------
    ValueError
        It is none of these, or not positive.
    """
    expected = "a duration such as '30s', '5m', '12h' or '7d'"
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, bool):
        raise ValueError(f"expected {expected}")
    elif isinstance(value, (int, float)):
        duration = _seconds(value, expected)
    else:
        match = _DURATION.fullmatch(str(value))
        if match is None:
            raise ValueError(f"expected {expected}")
        duration = _seconds(float(match[1]) * _UNITS[match[2] or "s"], expected)
    if duration <= timedelta(0):
        raise ValueError(f"must be longer than zero; expected {expected}")
    return duration


def _seconds(number: float, expected: str) -> timedelta:
    try:
        return timedelta(seconds=number)
    except (OverflowError, ValueError):
        raise ValueError(f"is out of range; expected {expected}") from None


def _checked(check: Callable[[Any], Any], value: Any, source: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigurationError(f"{source}={mask(str(value))!r}: {error}") from None


def _database_url(value: Any) -> str:
    # The text of a SQLAlchemy URL has lost the password.
    render = getattr(value, "render_as_string", None)
    text = render(hide_password=False) if render is not None else str(value)
    scheme, separator, rest = text.partition("://")
    dialect = scheme.split("+")[0]
    if not separator or dialect not in _DATABASES:
        raise ValueError(
            "expected a database URL such as 'postgresql+psycopg://user@host/shop', "
            "'mysql+pymysql://user@host/shop' or 'sqlite:///shop.db'"
        )
    if dialect == "sqlite" and (
        rest.split("?")[0] in ("", "/", "/:memory:") or ":memory:" in rest or "mode=memory" in rest
    ):
        raise ValueError(
            "an in-memory SQLite database is seen by one connection only; use a file, "
            "such as 'sqlite:///eventbus.db'"
        )
    if dialect != "sqlite":
        _check_address(text, "@" in rest)
    return text


def _broker_url(value: Any) -> str:
    text = str(value)
    if not is_amqp(text):
        if hasattr(value, "render_as_string"):
            return _database_url(value)
        scheme = text.partition("://")[0]
        if scheme.split("+")[0] not in _DATABASES:
            raise ValueError(
                "expected 'amqp://user:password@host:5672/vhost', 'amqps://...', several of them "
                "separated by ';', or a database URL for the embedded broker"
            )
        return _database_url(text)
    for part in _ADDRESSES.split(text):
        if not is_amqp(part):
            raise ValueError(
                f"each host needs a full URL; {mask(part)!r} has no amqp:// or amqps://"
            )
        if ";" in part:
            raise ValueError(
                "each of several hosts, separated by ';', needs a full URL with amqp:// or "
                "amqps://; in a password write '%3B' for ';'"
            )
        _check_address(part, "@" in part)
    return text


def _management_url(value: Any) -> str:
    text = str(value)
    if text.partition("://")[0] not in ("http", "https") or not urlsplit(text).hostname:
        raise ValueError(
            "expected the address of RabbitMQ's management API, such as 'http://host:15672'"
        )
    _check_address(text, "@" in text)
    return text


def _registry_url(value: Any) -> str:
    text = str(value)
    scheme = text.partition("://")[0].lower()
    if hasattr(value, "render_as_string") or scheme.split("+")[0] in _DATABASES:
        return _database_url(value)
    if scheme not in ("http", "https"):
        raise ValueError(
            "expected the address of a schema registry, such as 'https://user:password@host', or "
            "a database URL"
        )
    _check_address(text, "@" in text)
    if not urlsplit(text).hostname:
        raise ValueError("the address has no host; write 'https://host' or 'https://host:8081'")
    return text


def _redis_url(value: Any) -> str:
    text = str(value)
    scheme = text.partition("://")[0]
    if scheme not in _REDIS_SCHEMES:
        raise ValueError("expected 'redis://host:6379/0', 'rediss://...' or 'unix:///path'")
    if scheme != "unix":
        _check_address(text, "@" in text)
    return text


def _check_address(url: str, has_login: bool) -> None:
    """Refuse an address whose parts cannot be told apart; urlsplit alone would misread it."""
    rest = url.partition("://")[2]
    authority = re.split(r"[/?#;]", rest, maxsplit=1)[0]
    if has_login and authority.count("@") != 1:
        raise ValueError(
            "the user or password contains '@', '/', '?', '#' or ';'; write them as '%40', '%2F', "
            "'%3F', '%23' and '%3B' in a URL"
        )
    # No text of urlsplit's own: it would show what stands in the place of the port.
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the port is not a number from 1 to 65535, or the host has odd brackets")


def _one_of(*allowed: str, upper: bool = False) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        text = str(value).upper() if upper else str(value).lower()
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}")
        return text

    return check


def _exchange(value: Any) -> str:
    text = str(value)
    if (
        not text
        or len(text.encode("utf-8", "surrogatepass")) > 127
        or any(c.isspace() or not c.isprintable() for c in text)
    ):
        raise ValueError("expected an exchange name of 1 to 127 bytes without white space")
    if text.startswith("amq."):
        raise ValueError("names that begin with 'amq.' belong to the broker")
    return text


def _count(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        text = str(value).strip()
        # Of a long text int() would complain in its own words.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
        if not least <= number <= most:
            raise ValueError(f"expected a number from {least} to {most}")
        return number

    return check


def _folder(value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
    if not text.strip() or "\0" in text:
        raise ValueError("expected a folder's path, such as 'contracts'")
    return str(text)


def _yes_or_no(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _YES and text not in _NO:
        raise ValueError(f"expected one of {', '.join((*_YES, *_NO))}")
    return text in _YES


def _release(value: Any) -> str:
    text = str(value)
    if not 0 < len(text) <= 100 or not text.isprintable() or any(c.isspace() for c in text):
        raise ValueError("expected a release such as '1.4' of 1 to 100 characters, no white space")
    return text


def _bytes(value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        raise ValueError("expected a number of bytes") from None
    if not 1024 <= number <= 128 * 1024 * 1024:
        raise ValueError("expected 1024 to 134217728 bytes; RabbitMQ takes no larger message")
    return number


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "database_url": _database_url,
    "broker_url": _broker_url,
    "management_url": _management_url,
    "redis_url": _redis_url,
    "exchange": _exchange,
    "idempotency_ttl": parse_duration,
    "claim_lease": parse_duration,
    "consumer_timeout": parse_duration,
    "max_starts": _count(1, 100),
    "event_log_retention": parse_duration,
    "unroutable": _one_of("log", "fail"),
    "idempotency_failure": _one_of("pause", "continue"),
    "max_message_bytes": _bytes,
    "content_mode": _one_of(BINARY, STRUCTURED),
    "contracts": _folder,
    "registry_url": _registry_url,
    "require_contract": _yes_or_no,
    "release": _release,
    "log_level": _one_of(*_LOG_LEVELS, upper=True),
    "log_format": _one_of("text", "json"),
}

assert set(_CHECKS) == {field.name for field in fields(Settings)}
