"""What ``eventbus doctor`` looks at. Each examiner yields findings; none of them changes anything.

A server that cannot be reached ends the examination of that server, not of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from eventbus.cli.banner import servers
from eventbus.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DatabaseNotMigrated,
    DatabaseUnavailable,
    EventBusError,
)
from eventbus.settings import mask

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from eventbus.brokers.port import Admin
    from eventbus.bus import EventBus

OK, TODO, UNREACHABLE = "ok", "todo", "unreachable"

#: Longer than a server that is there takes to answer.
_REDIS_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    status:
        `OK`, `TODO` or `UNREACHABLE`.
    advice:
        What to do, unless it is `OK`.
    """

    check: str
    status: str
    result: str
    advice: str | None = None

    def shape(self) -> dict[str, str | None]:
        """As ``--json`` prints it."""
        return asdict(self)


def exit_code(findings: list[Finding]) -> int:
    """3 when a server could not be reached, else 4 when something is to be done, else 0."""
    found = {finding.status for finding in findings}
    return 3 if UNREACHABLE in found else 4 if TODO in found else 0


def examine(bus: EventBus, *, has_application: bool) -> Iterator[Finding]:
    """Everything, in the order in which a person would look.

    Parameters
    ----------
    has_application:
        Whether `bus` is the application's; else it stands for the settings alone.
    """
    if has_application:
        yield _application(bus)
    yield from _settings(bus)
    for check, examiner in (
        ("database", _database),
        ("broker", _broker),
        ("redis", _redis),
    ):
        try:
            yield from examiner(bus)
        except (DatabaseUnavailable, BrokerUnavailable) as error:
            yield Finding(check, UNREACHABLE, str(error), "start it, or correct its URL")
        except EventBusError as error:
            yield Finding(check, TODO, str(error), "correct the setting")


def _application(bus: EventBus) -> Finding:
    counts = (
        f"events: {len(bus.events)}, handlers: {len(bus.handlers)}, "
        f"queues: {len(bus.subscriptions)}"
    )
    return Finding("application", OK, f"service {bus.service}; {counts}")


def _settings(bus: EventBus) -> Iterator[Finding]:
    from eventbus.cli.start import contradictions

    contradicting = contradictions(bus)
    if not contradicting:
        yield Finding("settings", OK, "each is valid, and none contradicts another")
    for text in contradicting:
        yield Finding("settings", TODO, text, "correct the setting; a worker refuses to start")
    for text in bus.settings.unsafe():
        yield Finding("unsafe setting", TODO, text, "take it back unless it is meant")


# -- database -------------------------------------------------------------------------------------


def _database(bus: EventBus) -> Iterator[Finding]:
    from eventbus import database
    from eventbus.cli.start import check_database, databases

    for engine in databases(bus):
        try:
            check_database(engine)
        except DatabaseNotMigrated as error:
            tables = Finding("tables", TODO, str(error), "run 'eventbus db upgrade'")
        else:
            tables = Finding("tables", OK, f"version {database.SCHEMA_VERSION}")
        if tables.status == OK or engine.dialect.name != "sqlite":
            version = database.server_version(engine)
            yield Finding("database", OK, f"{version} at {engine.url.render_as_string()}")
        yield tables
        yield from _database_safety(engine)


def _database_safety(engine: Engine) -> Iterator[Finding]:
    from eventbus import database

    examiners: dict[str, Callable[[Connection], Iterator[Finding]]] = {
        "postgresql": _postgresql,
        "mysql": _mysql,
        "mariadb": _mysql,
    }
    examiner = examiners.get(engine.dialect.name)
    if examiner is not None:
        with database.reading(engine) as connection:
            yield from examiner(connection)


def _postgresql(connection: Connection) -> Iterator[Finding]:
    if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar():
        yield Finding(
            "database", TODO, "it is a read-only replica", "let database_url address the primary"
        )
    if connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "off":
        yield Finding(
            "database",
            TODO,
            "synchronous_commit=off: a crash of the server can undo a commit whose event is "
            "already published",
            "set synchronous_commit=on for this database",
        )
    if connection.exec_driver_sql("SHOW fsync").scalar() == "off":
        yield Finding(
            "database", TODO, "fsync=off: a crash can destroy the database", "set fsync=on"
        )


def _mysql(connection: Connection) -> Iterator[Finding]:
    if connection.exec_driver_sql("SELECT @@read_only").scalar():
        yield Finding(
            "database",
            TODO,
            "read_only=ON: it is a replica",
            "let database_url address the primary",
        )
    if connection.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar() != 1:
        yield Finding(
            "database",
            TODO,
            "innodb_flush_log_at_trx_commit is not 1: a crash of the server can undo a commit "
            "whose event is already published",
            "set innodb_flush_log_at_trx_commit=1",
        )


# -- broker ---------------------------------------------------------------------------------------


def _broker(bus: EventBus) -> Iterator[Finding]:
    if bus.settings.embedded:
        if not _has_tables(bus):
            return  # already found, with the tables
        yield Finding("broker", OK, servers(bus.settings)["broker"])
    else:
        bus.broker.ping()
    admin = bus.broker.admin()
    try:
        if not bus.settings.embedded:
            yield Finding("broker", OK, f"{admin.server()} at {bus.broker.url}")
        for one in admin.advice():
            status = OK if one.remedy is None else TODO
            yield Finding(one.subject, status, one.text, one.remedy)
        yield from _topology(bus, admin)
        yield from _dead_letters(bus, admin)
    finally:
        admin.close()


def _has_tables(bus: EventBus) -> bool:
    from eventbus.cli.start import check_database, databases

    try:
        check_database(databases(bus)[-1])  # the broker's own, where it has one
    except DatabaseNotMigrated:
        return False
    return True


def _topology(bus: EventBus, admin: Admin) -> Iterator[Finding]:
    from eventbus.drift import Kind, plan, service_prefix

    declared = bus.topology()
    if not declared.queues:
        return
    found = admin.inspect(declared, service_prefix(bus.service))
    changes = plan(declared, found, bus.service)
    missing = [change.name for change in changes if change.kind is Kind.CREATE_QUEUE]
    if not missing:
        yield Finding("queues", OK, f"all {len(declared.queues)} are declared")
    for kinds, text, remedy in (
        ((Kind.CREATE_QUEUE,), "not declared", "start a worker, or 'eventbus topology apply'"),
        (
            (Kind.CREATE_BINDING,),
            "not bound to all they ask for",
            "start a worker, or 'eventbus topology apply'",
        ),
        (
            (Kind.MIGRATE_QUEUE, Kind.CHANGE_EXCHANGE),
            "of other arguments than declared",
            "see 'eventbus topology plan'",
        ),
        (
            (Kind.REMOVE_BINDING, Kind.REMOVE_QUEUE),
            "more than declared, or bound to more",
            "see 'eventbus topology plan'",
        ),
    ):
        names = list(dict.fromkeys(change.name for change in changes if change.kind in kinds))
        if names:
            yield Finding("queues", TODO, f"{text}: {_some(names)}", remedy)
    if found.complete:
        for note in found.notes:
            yield Finding("policy", TODO, note, "take the policy off, or declare what it sets")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")


def _dead_letters(bus: EventBus, admin: Admin) -> Iterator[Finding]:
    subscriptions = bus.subscriptions.values()
    stats = admin.stats([subscription.dead_letter_queue for subscription in subscriptions])
    for subscription in subscriptions:
        parked = stats.get(subscription.dead_letter_queue)
        if parked is not None and parked.messages:
            yield Finding(
                "dead letters",
                TODO,
                f"{parked.messages} in {subscription.dead_letter_queue}",
                f"see 'eventbus dlq list --queue {subscription.name}'",
            )


# -- Redis ----------------------------------------------------------------------------------------


def _redis(bus: EventBus) -> Iterator[Finding]:
    url = bus.settings.redis_url
    if url is None:
        return
    try:
        import redis
    except ModuleNotFoundError:
        raise ConfigurationError(
            "redis_url is set, but the package 'redis' is not installed; "
            "pip install 'eventbus[redis]'"
        ) from None
    yield from _redis_url(url)
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS
        )
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"redis_url={mask(url)!r}: {error}") from None
    try:
        with client:
            info: dict[str, Any] = client.info()
            version = f"Redis {info.get('redis_version', '?')} at {mask(url)}"
            yield Finding("redis", OK, version)
            yield from _redis_safety(info, _redis_configuration(client))
    except (redis.RedisError, OSError) as error:
        yield Finding(
            "redis", UNREACHABLE, f"{mask(url)}: {error}", "start it, or correct redis_url"
        )


def _redis_url(url: str) -> Iterator[Finding]:
    options = parse_qs(urlsplit(url).query)
    unverified = options.get("ssl_cert_reqs", ["required"])[-1].lower() != "required"
    unnamed = options.get("ssl_check_hostname", ["true"])[-1].lower() in ("false", "0", "no")
    if url.startswith("rediss://") and (unverified or unnamed):
        yield Finding(
            "redis",
            TODO,
            "rediss:// without verification: anybody in between can read and answer",
            "remove ssl_cert_reqs and ssl_check_hostname from redis_url; name the authority with "
            "ssl_ca_certs=",
        )


def _redis_configuration(client: Any) -> dict[str, str]:
    """What ``CONFIG GET`` tells; hosted services often do not permit it."""
    import redis

    found: dict[str, str] = {}
    for name in ("maxmemory-policy", "appendonly", "save"):
        try:
            found.update(client.config_get(name))
        except redis.ResponseError:
            return {}
    return {_as_text(name): _as_text(value) for name, value in found.items()}


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _redis_safety(info: dict[str, Any], configuration: dict[str, str]) -> Iterator[Finding]:
    if info.get("role", "master") != "master":
        yield Finding(
            "redis",
            TODO,
            "it is a replica: it takes no claims",
            "let redis_url address the primary",
        )
    policy = configuration.get("maxmemory-policy") or info.get("maxmemory_policy")
    if policy not in (None, "noeviction"):
        yield Finding(
            "redis",
            TODO,
            f"maxmemory-policy is {policy}: under memory pressure it forgets handled events, "
            f"whose effects then happen again",
            "set maxmemory-policy noeviction, or give eventbus a Redis of its own",
        )
    if configuration.get("appendonly") == "no" and configuration.get("save") == "":
        yield Finding(
            "redis",
            TODO,
            "it keeps nothing on disk: after its restart an event that comes again takes effect "
            "again",
            "set appendonly yes",
        )
