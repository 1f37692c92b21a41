"""Signals and ends of services. The signals are real; they go to this very process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from eventbus.errors import BrokerUnavailable
from eventbus.workers import supervisor
from eventbus.workers.monitoring.report import WORKER, Report
from eventbus.workers.supervisor import SAME_SIGNAL_SECONDS, Ending, supervise
from tests.waiting import wait_until


class Fake:
    """A service that runs until it is told how to end."""

    def __init__(self, *, drains: bool = True, error: BaseException | None = None) -> None:
        self.drained = True
        self.started = threading.Event()
        self.stopped = threading.Event()
        self.stopped_now = threading.Event()
        self._end = threading.Event()
        self._drains = drains
        self._error = error
        self._runs = False

    def run(self) -> None:
        self.started.set()
        if self._error is not None:
            raise self._error
        self._runs = True
        self._end.wait(30)

    def report(self) -> Report:
        return Report(WORKER, "shop", "fake", state="running" if self._runs else "starting")

    def stop(self) -> None:
        self.stopped.set()
        if self._drains:
            self._end.set()

    def stop_now(self) -> None:
        self.stopped_now.set()
        self._end.set()


def meanwhile(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_service_that_left_something_undone_ends_with_1() -> None:
    service = Fake()
    service.drained = False
    meanwhile(lambda: (service.started.wait(10), send(signal.SIGTERM)))
    assert supervise({"worker": service}) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_every_service_and_ends_with_0(number: int) -> None:
    first, second = Fake(), Fake()

    def act() -> None:
        first.started.wait(10)
        second.started.wait(10)
        send(number)

    meanwhile(act)
    assert supervise({"dispatcher": first, "worker": second}) == 0
    assert first.stopped.is_set()
    assert second.stopped.is_set()
    assert not first.stopped_now.is_set()


def test_a_second_signal_stops_at_once_and_ends_with_1() -> None:
    slow = Fake(drains=False)

    def act() -> None:
        slow.started.wait(10)
        send(signal.SIGTERM)
        slow.stopped.wait(10)
        time.sleep(SAME_SIGNAL_SECONDS)  # any later than this it is a second one
        send(signal.SIGINT)

    meanwhile(act)
    assert supervise({"worker": slow}) == 1
    assert slow.stopped_now.is_set()


def test_a_signal_that_comes_twice_at_once_drains() -> None:
    slow = Fake(drains=False)

    def act() -> None:
        slow.started.wait(10)
        send(signal.SIGTERM)
        slow.stopped.wait(10)
        send(signal.SIGTERM)
        time.sleep(SAME_SIGNAL_SECONDS)
        slow._end.set()

    meanwhile(act)
    assert supervise({"worker": slow}) == 0
    assert not slow.stopped_now.is_set()


def test_an_error_of_one_drains_the_other_and_is_raised() -> None:
    healthy = Fake()
    with pytest.raises(BrokerUnavailable, match="away"):
        supervise({"dispatcher": healthy, "worker": Fake(error=BrokerUnavailable("away"))})
    assert healthy.stopped.is_set()
    assert not healthy.stopped_now.is_set()


def test_a_service_that_ends_by_itself_ends_the_others() -> None:
    done, other = Fake(), Fake()
    done._end.set()
    assert supervise({"dispatcher": done, "worker": other}) == 0
    assert other.stopped.is_set()


def test_a_service_that_does_not_stop_is_left_after_the_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.1)
    stuck = Fake(drains=False)
    stuck.stop_now = stuck.stopped_now.set  # type: ignore[method-assign]

    def act() -> None:
        stuck.started.wait(10)
        send(signal.SIGTERM)
        stuck.stopped.wait(10)
        time.sleep(SAME_SIGNAL_SECONDS)
        send(signal.SIGTERM)

    meanwhile(act)
    started = time.monotonic()
    assert supervise({"worker": stuck}) == 1
    assert time.monotonic() - started < 5
    stuck._end.set()


class Pool(Fake):
    """One that has processes of its own."""

    def __init__(self, *, replaces: bool = True) -> None:
        super().__init__()
        self.replaced = threading.Event()
        self.dumped = threading.Event()
        self._replaces = replaces

    def replace(self) -> bool:
        self.replaced.set()
        return self._replaces

    def dump_stacks(self) -> None:
        self.dumped.set()


class Told:
    """An announcer."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def reloading(self) -> None:
        self.said.append("reloading")

    def stopping(self) -> None:
        self.said.append("stopping")


def test_hup_drains_to_start_afresh() -> None:
    service, told = Fake(), Told()
    meanwhile(lambda: (service.started.wait(10), send(signal.SIGHUP)))
    ending = supervise({"worker": service}, announcer=told, trial=lambda: None)
    assert ending is Ending.RESTART
    assert service.stopped.is_set()
    assert told.said == ["reloading"]


def test_hup_with_code_that_cannot_be_loaded_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service, told = Fake(), Told()

    def act() -> None:
        service.started.wait(10)
        send(signal.SIGHUP)
        wait_until(lambda: "SyntaxError" in caplog.text, 10)
        assert not service.stopped.is_set()
        send(signal.SIGTERM)

    meanwhile(act)
    assert supervise({"worker": service}, announcer=told, trial=lambda: "SyntaxError") == 0
    assert told.said == ["stopping"]


def test_a_second_hup_while_the_first_is_tried_does_nothing() -> None:
    service = Fake()
    trying, tried = threading.Event(), threading.Event()
    trials: list[int] = []

    def trial() -> None:
        trials.append(1)
        trying.set()
        tried.wait(10)

    def act() -> None:
        service.started.wait(10)
        send(signal.SIGHUP)
        trying.wait(10)
        send(signal.SIGHUP)
        tried.set()

    meanwhile(act)
    assert supervise({"worker": service}, trial=trial) is Ending.RESTART
    assert len(trials) == 1


def test_a_stop_while_the_code_is_tried_is_a_stop() -> None:
    service = Fake()

    def trial() -> None:
        send(signal.SIGTERM)
        service.stopped.wait(10)

    meanwhile(lambda: (service.started.wait(10), send(signal.SIGHUP)))
    assert supervise({"worker": service}, trial=trial) is Ending.DRAINED


def test_a_stop_while_it_drains_to_start_afresh_is_a_stop() -> None:
    slow = Fake(drains=False)

    def act() -> None:
        slow.started.wait(10)
        send(signal.SIGHUP)
        slow.stopped.wait(10)
        slow.stopped.clear()
        send(signal.SIGTERM)
        slow.stopped.wait(10)
        slow._end.set()

    meanwhile(act)
    assert supervise({"worker": slow}) is Ending.DRAINED


def test_hup_replaces_the_processes_of_a_pool_and_goes_on() -> None:
    pool = Pool()

    def act() -> None:
        pool.started.wait(10)
        send(signal.SIGHUP)
        pool.replaced.wait(10)
        assert not pool.stopped.is_set()
        send(signal.SIGTERM)

    meanwhile(act)
    assert supervise({"worker": pool}) is Ending.DRAINED


@pytest.mark.parametrize("beside", [Fake(), Pool(replaces=False)])
def test_what_cannot_replace_itself_starts_afresh_as_a_whole(beside: Fake) -> None:
    pool = Pool()
    meanwhile(lambda: (pool.started.wait(10), beside.started.wait(10), send(signal.SIGHUP)))
    assert supervise({"worker": pool, "other": beside}) is Ending.RESTART


def test_usr1_writes_the_stacks_and_the_work_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    pool = Pool()

    def act() -> None:
        pool.started.wait(10)
        send(signal.SIGUSR1)
        wait_until(lambda: any(r.stack_info for r in caplog.records), 10)
        assert not pool.stopped.is_set()
        send(signal.SIGTERM)

    meanwhile(act)
    assert supervise({"worker": pool}) is Ending.DRAINED
    (stacks,) = [r.stack_info for r in caplog.records if r.stack_info]
    assert "thread 'worker' (daemon):" in stacks
    assert "self._end.wait(30)" in stacks
    assert pool.dumped.is_set()


def test_signals_before_the_start_are_kept_for_it() -> None:
    before = {number: signal.getsignal(number) for number in supervisor._SIGNALS}
    try:
        supervisor.note_signals(stops=True)
        send(signal.SIGTERM)
        service = Fake()
        assert supervise({"worker": service}) is Ending.DRAINED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


AFTER = """
import eventbus.workers.supervisor as supervisor
supervisor.note_signals()
print(list(supervisor._noted))
"""
BEFORE = f"""
import os, signal, sys
from eventbus.workers.supervisor import hold_signals, note_signals
note_signals(stops=True)
assert hold_signals()
os.kill(os.getpid(), signal.Signals(int(sys.argv[1])))
os.execv(sys.executable, [sys.executable, '-c', {AFTER!r}])
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_signals_that_are_held_through_an_exec_are_not_lost(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEFORE, str(int(number))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"[{int(number)}]\n", "")


def test_a_process_that_was_told_to_stop_does_not_start_afresh() -> None:
    code = (
        "import os, signal\n"
        "from eventbus.workers.supervisor import hold_signals, note_signals\n"
        "note_signals(stops=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(hold_signals())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "False\n")


def test_the_signal_handlers_of_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    done = Fake()
    done._end.set()
    supervise({"worker": done})
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_process_ends_although_a_handler_runs_on() -> None:
    code = (
        "import threading, time\n"
        "from eventbus.workers.supervisor import exit_process\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('last words')\n"
        "exit_process(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (3, "last words\n")


def test_no_thread_is_left_behind() -> None:
    done = Fake()
    done._end.set()
    supervise({"only-this-one": done})
    wait_until(lambda: "only-this-one" not in {thread.name for thread in threading.enumerate()}, 5)
