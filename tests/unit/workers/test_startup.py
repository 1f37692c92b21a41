"""The start of services while servers are away."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from eventbus.errors import BrokerUnavailable, DatabaseNotMigrated, TopologyMismatch
from eventbus.workers import startup as startup_module
from eventbus.workers.monitoring.report import WORKER, Report
from eventbus.workers.startup import Startup
from tests.waiting import wait_until

LONG = timedelta(minutes=5)


class Service:
    """Raises `errors`, one at each run, and then runs to its end."""

    drained = True

    def __init__(self, *errors: Exception, state: str = "starting") -> None:
        self._errors = list(errors)
        self._state = state
        self.runs = 0

    def run(self) -> None:
        self.runs += 1
        if self._errors:
            raise self._errors.pop(0)

    def stop(self) -> None: ...

    def stop_now(self) -> None: ...

    def report(self) -> Report:
        return Report(WORKER, "shop", "shop.worker", state=self._state)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_module, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize("error", [BrokerUnavailable("away"), DatabaseNotMigrated("no tables")])
def test_what_comes_with_time_is_waited_for(error: Exception) -> None:
    service = Service(error, error)
    startup = Startup(patience=LONG)
    startup.run("worker", service, threading.Event())
    assert service.runs == 3
    assert startup.trouble("worker") is None


def test_without_patience_the_start_fails_at_once() -> None:
    service = Service(BrokerUnavailable("away"))
    with pytest.raises(BrokerUnavailable):
        Startup().run("worker", service, threading.Event())
    assert service.runs == 1


def test_patience_has_an_end() -> None:
    service = Service(*[BrokerUnavailable("away")] * 1000)
    with pytest.raises(BrokerUnavailable):
        Startup(patience=timedelta(seconds=0.1)).run("worker", service, threading.Event())
    assert service.runs > 1


@pytest.mark.parametrize(
    ("service", "error"),
    [
        # It was at work: what it could not wait for itself is not for us to wait for.
        (Service(BrokerUnavailable("gone"), state="running"), BrokerUnavailable),
        # Time does not heal this.
        (Service(TopologyMismatch("other arguments")), TopologyMismatch),
    ],
)
def test_other_failures_are_not_waited_for(service: Service, error: type[Exception]) -> None:
    with pytest.raises(error):
        Startup(patience=LONG).run("worker", service, threading.Event())
    assert service.runs == 1


def test_a_stop_ends_the_wait_and_is_no_failure() -> None:
    service = Service(*[BrokerUnavailable("away")] * 1000)
    startup, stopping = Startup(patience=LONG), threading.Event()
    thread = threading.Thread(target=startup.run, args=("worker", service, stopping))
    thread.start()
    wait_until(lambda: startup.trouble("worker") == "away", 10)
    stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_servers_are_prepared_once_and_again_where_that_failed() -> None:
    tries: list[int] = []

    def prepare() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise BrokerUnavailable("away")

    startup, stopping = Startup(prepare, LONG), threading.Event()
    first, second = Service(), Service()
    startup.run("dispatcher", first, stopping)
    startup.run("worker", second, stopping)
    assert (len(tries), first.runs, second.runs) == (3, 1, 1)


def test_pauses_are_looked_up_before_each_try_and_after_the_servers_are_prepared() -> None:
    steps: list[str] = []
    service = Service(BrokerUnavailable("away"))
    run = service.run
    service.run = lambda: (steps.append("run"), run())[1]  # type: ignore[method-assign]
    startup = Startup(lambda: steps.append("prepare"), LONG, lambda: steps.append("look"))
    startup.run("worker", service, threading.Event())
    assert steps == ["prepare", "look", "run", "look", "run"]
