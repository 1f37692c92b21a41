"""The options of the processes that stay, beside what they do: health, reload, patience."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli import relaunch, reloader
from eventbus.cli.options import Duration, Number
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.workers.monitoring.condition import Observer
    from eventbus.workers.monitoring.health import HealthServer

_HEALTH_PACKAGES = {"prometheus_client": "prometheus-client", "waitress": "waitress"}


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """How a process is looked after.

    Parameters
    ----------
    health_host, health_port:
        Where ``/livez``, ``/readyz`` and ``/metrics`` are; nowhere without a port.
    reload:
        Start anew when the code changes.
    wait:
        How long to wait at the start for servers that are away.
    launch:
        How this process was started.
    """

    health_host: str
    health_port: int | None
    reload: bool
    wait: timedelta | None
    launch: relaunch.Launch

    def check(self) -> None:
        """Raise `ConfigurationError` where what an option needs is not installed."""
        if self.reload:
            reloader.require_watchfiles()
        if self.health_port is not None:
            _require_health_packages()

    def shown(self) -> dict[str, object]:
        """Lines for the banner."""
        lines: dict[str, object] = {}
        if self.health_port is not None:
            host = f"[{self.health_host}]" if ":" in self.health_host else self.health_host
            address = f"http://{host}:{self.health_port}"
            lines["health"] = f"{address}/livez /readyz /metrics"
        if self.reload:
            lines["reload"] = reloader.watched(self.launch)
        return lines

    def health_server(
        self, bus: EventBus, observer: Observer, *, publishes: bool
    ) -> HealthServer | None:
        """Listen at the port, if there is one; nothing is answered yet."""
        if self.health_port is None:
            return None
        from eventbus import __version__
        from eventbus.outbox.store import OutboxStore
        from eventbus.workers.monitoring.health import HealthApplication, HealthServer
        from eventbus.workers.monitoring.metrics import Metrics
        from eventbus.workers.monitoring.outbox_sample import OutboxSample

        outbox = OutboxSample(OutboxStore(bus.engine).depth) if publishes else None
        pages = HealthApplication(observer, Metrics(observer, __version__, outbox))
        return HealthServer(pages, self.health_host, self.health_port)


def supervision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as ``supervision``, a `Supervision`.

    With ``--reload`` the command itself is run in a child process only.
    """

    @functools.wraps(command)
    def supervised(
        *,
        health_host: str,
        health_port: int | None,
        reload: bool,
        wait: timedelta | None,
        **others: Any,
    ) -> Any:
        from eventbus.cli import start

        supervision = Supervision(
            health_host=health_host,
            health_port=health_port,
            reload=reload,
            wait=wait,
            launch=relaunch.Launch.of_this_process(),
        )
        supervision.check()
        if reload and not reloader.is_child():
            start.end_process(reloader.Reloader(supervision.launch).run())
        start.note_signals()
        return command(supervision=supervision, **others)

    for option in reversed(_options()):
        supervised = option(supervised)
    return supervised


def _options() -> Sequence[Callable[..., Any]]:
    return (
        click.option(
            "--health-port",
            type=Number(1, 65535),
            metavar="PORT",
            help="Serve /livez, /readyz and /metrics there.",
        ),
        click.option(
            "--health-host",
            default="127.0.0.1",
            show_default=True,
            metavar="ADDRESS",
            help="Where --health-port listens; in a container 0.0.0.0.",
        ),
        click.option(
            "--wait",
            type=Duration("1s", "1d"),
            metavar="DURATION",
            help="Wait so long at the start for servers that are away and for tables that are "
            "not there yet.  [default: end with 3 or 4]",
        ),
        click.option(
            "--reload",
            is_flag=True,
            help="For development: start anew when a .py file in this folder changes.",
        ),
    )


def _require_health_packages() -> None:
    missing = [
        package
        for module, package in _HEALTH_PACKAGES.items()
        if not importlib.util.find_spec(module)
    ]
    if missing:
        raise ConfigurationError(
            f"--health-port needs {' and '.join(missing)}; install it with: "
            f"pip install 'eventbus[health]'"
        )
