"""What the processes that stay have in common: checks before the start, then the supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from eventbus.cli import reloader
from eventbus.cli.relaunch import is_trial
from eventbus.errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from eventbus.bus import EventBus
    from eventbus.cli.supervision import Supervision
    from eventbus.settings import Settings
    from eventbus.subscription import Subscription

#: A lease is renewed at a third of its length; below this a busy machine would miss renewals.
SHORTEST_LEASE = timedelta(seconds=3)


def set_up(bus: EventBus, log_level: str | None = None) -> None:
    """Take over the options that stand for settings, and begin to log."""
    from eventbus import logs

    if log_level is not None:
        bus.settings = replace(bus.settings, log_level=log_level.upper())
    logs.configure(bus.settings.log_level, bus.settings.log_format)


def contradictions(bus: EventBus) -> list[str]:
    """Settings that work each by itself and not together, one sentence each."""
    return [*_lease_too_short(bus.settings), *_forgotten_before_retried(bus)]


def _lease_too_short(settings: Settings) -> Iterable[str]:
    if settings.claim_lease < SHORTEST_LEASE:
        yield (
            f"claim_lease={_text(settings.claim_lease)} is too short to be renewed in time; give "
            f"at least {_text(SHORTEST_LEASE)}"
        )


def _forgotten_before_retried(bus: EventBus) -> Iterable[str]:
    for handler in bus.handlers.values():
        longest = handler.retry.longest_delay
        if bus.settings.idempotency_ttl <= longest:
            yield (
                f"idempotency_ttl={_text(bus.settings.idempotency_ttl)} is not longer than the "
                f"longest retry delay of handler {handler.name!r} ({_text(longest)}): its event "
                f"would be forgotten before the retry; give a longer idempotency_ttl"
            )


def _text(duration: timedelta) -> str:
    return f"{duration.total_seconds():g}s"


def refuse_contradictions(bus: EventBus) -> None:
    """Raise where settings or declarations contradict each other.

    Raises
    ------
    ConfigurationError
        Settings do.
    DeclarationError
        A handler cannot be run as it is declared.
    """
    found = contradictions(bus)
    if found:
        raise ConfigurationError("; ".join(found))
    bus.check_handlers()


def chosen_subscriptions(bus: EventBus, queues: Iterable[str]) -> list[Subscription]:
    """The subscriptions of the `queues` named, or all.

    Raises
    ------
    UnknownName
        A queue is not declared, or none is declared at all.
    """
    chosen = [bus.subscription(queue) for queue in queues] or list(bus.subscriptions.values())
    if not chosen:
        raise UnknownName(
            f"{bus!r} declares no handler, so there is nothing to consume; import the modules that "
            f"declare handlers in the module that -A names"
        )
    return list({subscription.queue: subscription for subscription in chosen}.values())


def databases(bus: EventBus) -> list[Engine]:
    """The engines of the databases that hold tables of ours: usually one.

    The embedded broker may have a database of its own, which several services share.
    """
    engines = [bus.engine]
    settings = bus.settings
    if settings.embedded and settings.broker_database_url != settings.database_url:
        from eventbus.database import make_engine

        engines.append(make_engine(settings.broker_database_url))
    return engines


def databases_with_tables(bus: EventBus) -> list[Engine]:
    """All of `databases`, and the one of the schema registry, which no process needs to run."""
    engines = databases(bus)
    settings = bus.settings
    url = settings.registry_url
    if url is not None and not url.startswith("http"):
        from eventbus.database import make_engine

        if url not in (settings.database_url, settings.broker_url):
            engines.append(make_engine(url))
    return engines


def check_database(engine: Engine) -> None:
    """Raise `DatabaseUnavailable` or `DatabaseNotMigrated` unless the tables are there."""
    from eventbus import database

    database.require_file(engine)
    database.check(engine)


def upgrade_sqlite(bus: EventBus) -> None:
    """Create or upgrade the tables in a SQLite file, which no other migration looks after."""
    from eventbus import database

    for engine in databases(bus):
        if engine.dialect.name == "sqlite":
            database.upgrade(engine)


def prepare_database(engine: Engine) -> None:
    """Make the tables in a SQLite file; elsewhere raise unless they are there."""
    from eventbus import database

    if engine.dialect.name == "sqlite":
        database.upgrade(engine)
    else:
        check_database(engine)


def declare(bus: EventBus) -> None:
    """Declare the exchange, and the queues of all subscriptions.

    Raises
    ------
    TopologyMismatch
        A queue is there with other arguments.
    """
    admin = bus.broker.admin()
    try:
        admin.declare(bus.topology())
    finally:
        admin.close()


def check_servers(bus: EventBus) -> None:
    """Raise where a server is not there at the start; later, a process waits for it."""
    for engine in databases(bus):
        check_database(engine)
    bus.broker.ping()


def note_signals() -> None:
    """Let no HUP and no USR1 end the process while the application is imported."""
    import eventbus.workers.supervisor as supervisor

    # In a container, process 1 would not get a TERM at all that it has no handler for.
    supervisor.note_signals(stops=os.getpid() == 1)


def end_process(code: int) -> NoReturn:
    """End the process, whatever its threads do."""
    import eventbus.workers.supervisor as supervisor

    supervisor.exit_process(code)


def supervise(
    bus: EventBus,
    services: Mapping[str, Any],
    supervision: Supervision,
    prepare: Callable[[], None] | None = None,
) -> NoReturn:
    """Run `services` of `bus` to their end, present in its database; then end the process.

    Or start it afresh, after a HUP.

    Parameters
    ----------
    prepare:
        What to do before the first of them runs: checks and prepares the servers.
    """
    import eventbus.workers.supervisor as supervisor
    from eventbus.cli.root import exit_code_of

    if is_trial():
        supervisor.exit_process(0)
    supervisor.note_signals(stops=True)
    code = exit_code_of(lambda: _supervise(bus, services, supervision, prepare))
    if code != supervisor.Ending.RESTART:
        supervisor.exit_process(code)
    if not supervisor.hold_signals():
        supervisor.exit_process(supervisor.Ending.DRAINED)
    supervisor.flush_output()
    supervision.launch.replace_process()


def _supervise(
    bus: EventBus,
    services: Mapping[str, Any],
    supervision: Supervision,
    prepare: Callable[[], None] | None,
) -> int:
    import eventbus.workers.supervisor as supervisor
    from eventbus.workers.monitoring.condition import Observer
    from eventbus.workers.monitoring.presence import Presence
    from eventbus.workers.monitoring.readers import ReaderAnnouncer
    from eventbus.workers.monitoring.systemd import Systemd
    from eventbus.workers.startup import Startup

    presence = Presence(bus, services.values())
    startup = Startup(prepare, supervision.wait or timedelta(0), before_run=presence.look)
    observer = Observer(services, startup.trouble)
    # Before anything is consumed: a process that cannot be probed is not to work.
    health = supervision.health_server(bus, observer, publishes="dispatcher" in services)
    systemd = Systemd.of_environment(observer)
    if health is not None:
        health.start()
    if systemd is not None:
        systemd.start()
    if reloader.is_child():
        reloader.end_with_watcher()
    with presence, ReaderAnnouncer(bus, services.values()):
        return supervisor.supervise(
            services, startup=startup, announcer=systemd, trial=supervision.launch.problem
        )
