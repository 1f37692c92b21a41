"""Signals, probes, systemd and reload, with real processes on the embedded broker."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.services.ports import Port
from tests.waiting import wait_until

from .conftest import ORDER, PASSWORD, Process, Shop

POOLS = ["threads", "solo", "prefork"]
#: Nothing listens there.
NO_BROKER = f"amqp://shop:{PASSWORD}@127.0.0.1:1/"


APPLICATION = """
import asyncio
import os
import sys
import time
from uuid import UUID

from eventbus import Event, EventBus

bus = EventBus("shop")


class OrderPaid(Event, name="order.paid"):
    order_id: UUID
    amount: int = 1


def say(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()


@bus.handler("order.paid", queue="billing")
def charge(event: OrderPaid) -> None:
    say(f"charging {event.order_id}")
    while os.path.exists("hold"):
        time.sleep(0.02)
    say(f"charged {event.order_id}")


@bus.handler("order.paid", queue="mail")
async def mail(event: OrderPaid) -> None:
    say(f"mailing {event.order_id}")
    while os.path.exists("hold"):
        await asyncio.sleep(0.02)
    say(f"mailed {event.order_id}")
"""


@pytest.fixture
def bare(bare: Shop) -> Shop:
    """With handlers that say when they begin, and wait while there is a file ``hold``."""
    # Python would take a file for unchanged that is written twice in a second.
    bare.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    (bare.folder / "shop.py").write_text(APPLICATION)
    return bare


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.release()


def answer(port: Port, page: str) -> tuple[int, Any]:
    """Status and body; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as response:
            content = response.read().decode()
            return response.status, json.loads(content) if page != "/metrics" else content
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def wait_for_status(process: Process, port: Port, page: str, status: int) -> Any:
    """Wait for `page` to answer with `status`; returns its body."""
    return wait_until(
        lambda: (found := answer(port, page))[0] == status and found[1],
        30,
        lambda: f"{page} with {status}, not {answer(port, page)}: {process.err}",
    )


def change_code(shop: Shop, before: str, after: str) -> None:
    file = shop.folder / "shop.py"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


# -- TERM, INT ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["solo", "prefork"])
def test_the_first_term_lets_a_handler_finish(shop: Shop, pool: str) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "-P", pool, "-c", "1", "-Q", "billing") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        process.send(signal.SIGTERM)
        process.wait_for("draining", in_err=True)
        (shop.folder / "hold").unlink()
        assert process.popen.wait(30) == 0
        assert f"charged {ORDER}1" in process.out


@pytest.mark.parametrize("pool", POOLS)
def test_a_second_signal_stops_every_pool_at_once(shop: Shop, pool: str) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "-P", pool, "-c", "1", "-Q", "billing") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        process.send(signal.SIGTERM)
        process.wait_for("draining", in_err=True)
        time.sleep(0.3)  # any sooner it would count as the same signal
        assert process.end(signal.SIGINT) == 1
        assert "stopping at once" in process.err
        assert "charged" not in process.out


def test_the_shutdown_timeout_bounds_the_drain(shop: Shop) -> None:
    (shop.folder / "hold").touch()
    options = ("-Q", "billing", "--shutdown-timeout", "500ms")
    with shop.process("run", *options) as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        assert process.end() == 1
        assert "did not end in time" in process.err


# -- a start without servers ----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["worker", "dispatcher", "run"])
def test_a_stop_during_the_wait_for_a_broker_is_no_failure(
    shop: Shop, command: str, port: Port
) -> None:
    env = {"EVENTBUS_BROKER_URL": NO_BROKER}
    options = ("--wait", "5m", "--health-port", str(port))
    with shop.process(command, *options, env=env) as process:
        process.wait_for("waiting to start", in_err=True)
        body = wait_for_status(process, port, "/readyz", 503)
        (reason,) = next(iter(body["services"].values()))["reasons"]
        assert reason.startswith("starting: ")
        assert "127.0.0.1:1 refused" in reason
        assert answer(port, "/livez")[0] == 200
        assert process.end() == 0
        assert PASSWORD not in process.err


def test_the_wait_for_a_broker_has_an_end(shop: Shop) -> None:
    started = time.monotonic()
    done = shop.run("worker", "--wait", "1s", env={"EVENTBUS_BROKER_URL": NO_BROKER})
    assert done.returncode == 3
    assert time.monotonic() - started > 1


def test_a_worker_waits_for_the_migration(bare: Shop) -> None:
    with bare.process("worker", "--wait", "5m", "-Q", "billing") as process:
        process.wait_for("waiting to start", in_err=True)
        assert "eventbus db upgrade" in process.err
        assert bare.run("db", "upgrade").returncode == 0
        listed = ("dlq", "list", "--queue", "billing")
        wait_until(lambda: bare.run(*listed).returncode == 0, 30, "the queue is declared")
        assert process.end() == 0


# -- HUP ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_hup_brings_new_code_under_the_same_process_id(shop: Shop, pool: str) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "-P", pool, "-Q", "billing") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        change_code(shop, "charged {", "CHARGED {")
        process.send(signal.SIGHUP)
        process.wait_for("starts afresh", in_err=True)
        (shop.folder / "hold").unlink()
        process.wait_for(f"charged {ORDER}1")  # what had begun is finished, by the old code
        wait_until(lambda: process.err.count("  service shop") == 2, 30, "it has begun anew")
        shop.publish(2)
        process.wait_for(f"CHARGED {ORDER}2")
        assert process.popen.poll() is None
        assert process.end() == 0
        assert process.out.count(f"{ORDER}1") == 2  # begun and finished, once


def test_hup_replaces_the_processes_of_a_pool_and_keeps_their_parent(shop: Shop) -> None:
    with shop.process("worker", "-P", "prefork", "-c", "2", "-Q", "billing") as process:
        listed = ("dlq", "list", "--queue", "billing")
        wait_until(lambda: shop.run(*listed).returncode == 0, 30, "the queue is declared")
        change_code(shop, "charged {", "CHARGED {")
        process.send(signal.SIGHUP)
        process.wait_for("replacing the processes", in_err=True)
        numbers = itertools.count(1)

        def new_code_runs() -> bool:
            shop.publish(next(numbers))
            assert shop.run("dispatcher", "--once").returncode == 0
            return "CHARGED" in process.out

        wait_until(new_code_runs, 60, lambda: f"{process.out}\n{process.err}")
        assert process.err.count("  service shop") == 1
        assert process.end() == 0


@pytest.mark.parametrize("command", ["run", "dispatcher"])
def test_hup_with_code_that_cannot_be_imported_changes_nothing(shop: Shop, command: str) -> None:
    with shop.process(command) as process:
        process.wait_for("publishing", in_err=True)
        change_code(shop, "import os\n", "import os\nfrom nowhere import it\n")
        process.send(signal.SIGHUP)
        process.wait_for("nothing is changed", in_err=True)
        assert "No module named 'nowhere'" in process.err
        change_code(shop, "from nowhere import it\n", "")
        process.send(signal.SIGHUP)
        wait_until(lambda: process.err.count("publishing 32") == 2, 30, lambda: process.err)
        assert process.end() == 0


def test_hups_in_a_row_never_end_the_process(shop: Shop) -> None:
    with shop.process("run") as process:
        process.wait_for("publishing", in_err=True)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            process.send(signal.SIGHUP)
            time.sleep(0.01)
            assert process.popen.poll() is None
        shop.publish(1)
        process.wait_for(f"charged {ORDER}1")
        assert process.end() == 0


def test_a_hup_of_a_terminal_that_closes_is_a_stop(shop: Shop) -> None:
    parent, child = pty.openpty()
    popen = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *shop.command("run")],
        cwd=shop.folder,
        env=shop.env(),
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    read = b""
    while b"publishing" not in read:
        read += os.read(parent, 4096)
    os.close(parent)
    assert popen.wait(30) == 0


# -- USR1 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_usr1_shows_what_handlers_do_and_disturbs_none(shop: Shop, pool: str) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "-P", pool, "-c", "1", "-Q", "billing,mail") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        process.wait_for("mailing")
        process.send(signal.SIGUSR1)
        process.wait_for("stacks of all threads", in_err=True)
        process.wait_for("in charge", in_err=True)
        process.wait_for("in mail", in_err=True)
        (shop.folder / "hold").unlink()
        process.wait_for(f"charged {ORDER}1")
        process.wait_for(f"mailed {ORDER}1")
        assert process.end() == 0


# -- probes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_probes_and_metrics_of_a_process_that_works(shop: Shop, pool: str, port: Port) -> None:
    options = ("-P", pool, "-c", "1", "--health-port", str(port))
    with shop.process("run", *options) as process:
        wait_for_status(process, port, "/readyz", 200)
        assert answer(port, "/livez")[0] == 200
        shop.publish(1)
        process.wait_for(f"charged {ORDER}1")
        handled = 'eventbus_handler_events_total{handler="charge",name="shop.worker"'
        wait_until(
            lambda: (
                f'{handled},outcome="succeeded",queue="shop.billing"}} 1.0'
                in answer(port, "/metrics")[1]
            ),
            30,
            lambda: answer(port, "/metrics")[1],
        )
        metrics = answer(port, "/metrics")[1]
        published = 'eventbus_outbox_publishes_total{name="shop.dispatcher",outcome="published"}'
        assert f"{published} 1.0" in metrics
        assert 'eventbus_outbox_events{state="pending"} ' in metrics
        assert f"http://127.0.0.1:{port}/livez /readyz /metrics" in process.err
        assert process.end() == 0


def test_a_process_that_drains_is_live_and_not_ready(shop: Shop, port: Port) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "-Q", "billing", "--health-port", str(port)) as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        process.send(signal.SIGTERM)
        body = wait_for_status(process, port, "/readyz", 503)
        assert body["services"]["worker"]["reasons"] == ["draining"]
        assert answer(port, "/livez")[0] == 200
        (shop.folder / "hold").unlink()
        assert process.popen.wait(30) == 0


def test_a_paused_queue_leaves_it_ready(shop: Shop, port: Port) -> None:
    with shop.process("run", "--health-port", str(port)) as process:
        wait_for_status(process, port, "/readyz", 200)
        assert shop.run("queue", "pause", "billing").returncode == 0

        def billing() -> Any:
            return answer(port, "/readyz")[1]["services"]["worker"]["queues"]["shop.billing"]

        wait_until(lambda: billing()["paused"] and not billing()["consuming"], 30)
        assert answer(port, "/readyz")[0] == 200
        assert (
            'eventbus_queue_paused{name="shop.worker",queue="shop.billing"} 1.0'
            in (answer(port, "/metrics")[1])
        )
        assert process.end() == 0


def test_a_port_in_use_ends_the_start_with_1(shop: Shop, port: Port) -> None:
    with closing(socket.socket()) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port.number))
        taken.listen()
        done = shop.run("run", "--health-port", str(port))
    assert done.returncode == 1
    assert f"--health-port {port}: something listens at 127.0.0.1:{port} already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--health-port", "0"], "whole number from 1 to 65535"),
        (["--health-port", "65536"], "whole number from 1 to 65535"),
        (["--health-port", "9000", "--health-host", "no such host"], "is no address"),
        (["--wait", "0s"], "a duration from 1s to 1d"),
        (["--wait", "soon"], "a duration from 1s to 1d"),
    ],
)
def test_bad_options_end_with_2(shop: Shop, arguments: list[str], said: str) -> None:
    done = shop.run("worker", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("option", "hidden", "said"),
    [
        (["--health-port", "9000"], "waitress", "pip install 'eventbus[health]'"),
        (["--health-port", "9000"], "prometheus_client", "needs prometheus-client"),
        (["--reload"], "watchfiles", "pip install 'eventbus[reload]'"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    shop: Shop, option: list[str], hidden: str, said: str
) -> None:
    hide = f"import sys; sys.modules[{hidden!r}] = None"
    (shop.folder / "sitecustomize.py").write_text(hide)
    done = shop.run("worker", *option, env={"PYTHONPATH": python_path(shop.folder)})
    assert done.returncode == 2
    assert said in done.stderr


def python_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


# -- systemd --------------------------------------------------------------------------------------


def test_systemd_is_told_of_the_start_a_reload_and_the_stop(shop: Shop) -> None:
    address = str(shop.folder / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(address)
        listener.setblocking(False)
        told: list[str] = []

        def received() -> list[str]:
            try:
                while True:
                    told.extend(listener.recv(4096).decode().splitlines())
            except BlockingIOError:
                return told

        def wait_for(text: str, times: int = 1) -> None:
            wait_until(lambda: received().count(text) >= times, 30, lambda: f"{text} in {told}")

        env = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
        with shop.process("run", env=env) as process:
            wait_for("READY=1")
            wait_for("WATCHDOG=1", 3)
            wait_for("STATUS=dispatcher ready; worker ready")
            process.send(signal.SIGHUP)
            wait_for("RELOADING=1")
            wait_for("READY=1", 2)
            assert "STOPPING=1" not in told
            assert process.end() == 0
        wait_for("STOPPING=1")


# -- reload ---------------------------------------------------------------------------------------


def test_a_change_of_code_starts_it_anew_and_a_syntax_error_does_not_end_it(shop: Shop) -> None:
    with shop.process("run", "--reload", "-Q", "billing") as process:
        process.wait_for("publishing", in_err=True)
        assert "for development only" in process.err
        shop.publish(1)
        process.wait_for(f"charged {ORDER}1")
        change_code(shop, "import os\n", "import os )\n")
        process.wait_for("SyntaxError", in_err=True)
        process.wait_for("reload: it ended with 2; waiting for the next change", in_err=True)
        change_code(shop, "import os )\n", "import os\n")
        change_code(shop, "charged {", "CHARGED {")
        wait_until(lambda: process.err.count("publishing 32") == 2, 30, lambda: process.err)
        shop.publish(2)
        process.wait_for(f"CHARGED {ORDER}2")
        assert process.end() == 0


def test_a_watcher_that_is_killed_takes_what_it_started_along(shop: Shop) -> None:
    with shop.process("run", "--reload") as process:
        process.wait_for("publishing", in_err=True)
        process.popen.kill()
        process.wait_for("SIGTERM: draining", in_err=True)


def test_a_watcher_that_is_told_to_stop_drains_what_it_started(shop: Shop) -> None:
    (shop.folder / "hold").touch()
    with shop.process("run", "--reload", "-Q", "billing") as process:
        process.wait_for("publishing", in_err=True)
        shop.publish(1)
        process.wait_for("charging")
        process.send(signal.SIGTERM)
        process.wait_for("draining", in_err=True)
        (shop.folder / "hold").unlink()
        assert process.popen.wait(30) == 0
        assert f"charged {ORDER}1" in process.out
