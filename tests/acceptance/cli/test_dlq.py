"""``eventbus dlq`` as an operator runs it, with a worker beside it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from contextlib import suppress

import pytest

from eventbus.workers.operations.audit import OperationLog

from .conftest import ORDER, Shop


@pytest.fixture
def parked(shop: Shop) -> tuple[Shop, list[str]]:
    """Two events that ``book`` gave up on."""
    ids = [shop.publish(number, amount=13) for number in (1, 2)]
    with shop.process("run") as process:
        process.wait_for(f"{ids[0]}, attempt 1, parked", in_err=True)
        process.wait_for(f"{ids[1]}, attempt 1, parked", in_err=True)
        process.wait_for(f"charged {ORDER}2")
        assert process.end() == 0
    return shop, ids


def test_a_replay_runs_only_the_handler_that_failed(parked: tuple[Shop, list[str]]) -> None:
    shop, ids = parked
    assert ids[0] in shop.run("dlq", "show", ids[0], traceback=True).stdout
    moved = shop.json("dlq", "replay", "--id", ids[0], "--yes")
    assert (moved["replayed"], moved["state"]) == (1, "done")
    (shop.folder / "mended").touch()
    with shop.process("run") as process:
        process.wait_for(f"booked {ORDER}1")
        assert process.end() == 0
        assert "charged" not in process.out
    (left,) = shop.json("dlq", "list", "--messages", "--queue", "ledger")["queues"][0]["messages"]
    assert left["id"] == ids[1]


def test_it_works_by_full_name_without_the_application(parked: tuple[Shop, list[str]]) -> None:
    shop, ids = parked
    shop.environment = {"EVENTBUS_DATABASE_URL": "sqlite:///eventbus.db"}
    done = shop.run("dlq", "list")
    assert (done.returncode, "--queue" in done.stderr) == (2, True)
    (queue,) = shop.json("dlq", "list", "--messages", "--queue", "shop.ledger.dlq")["queues"]
    assert sorted(message["id"] for message in queue["messages"]) == sorted(ids)
    edited = shop.run("dlq", "replay", "-Q", "shop.ledger", "--edit", "--yes")
    assert (edited.returncode, "--edit needs the application" in edited.stderr) == (2, True)
    assert shop.json("dlq", "replay", "-Q", "shop.ledger", "--yes")["replayed"] == 2


def _on_terminal(shop: Shop, answers: list[tuple[str, str]], *arguments: str) -> tuple[int, str]:
    """Run on a terminal, answering each question when it comes; its exit code and its output."""
    primary, secondary = pty.openpty()
    popen = subprocess.Popen(
        shop.command(*arguments),
        cwd=shop.folder,
        env=shop.env({"TERM": "xterm", "COLUMNS": "200"}),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
    )
    os.close(secondary)
    output, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([primary], [], [], 0.1)[0]:
            data = b""
            with suppress(OSError):  # the other side has gone
                data = os.read(primary, 65_536)
            if not data:
                break
            output += data.decode("utf-8", "replace")
        if answers and answers[0][0] in output:
            os.write(primary, answers.pop(0)[1].encode())
    os.close(primary)
    assert not answers, output
    return popen.wait(30), output


def test_questions_are_asked_on_a_terminal_and_an_edit_can_be_mended(
    parked: tuple[Shop, list[str]],
) -> None:
    shop, ids = parked
    code, output = _on_terminal(shop, [("for good?", "n\n")], "dlq", "delete", "--all")
    assert (code, "nothing was done" in output) == (1, True)
    # The first time it writes nonsense, the second time what is right.
    editor = shop.folder / "editor.sh"
    editor.write_text(
        '#!/bin/sh\nif grep -q many "$1"; then sed -i s/many/14/ "$1"; '
        'else sed -i s/13/many/ "$1"; fi\n'
    )
    editor.chmod(0o755)
    shop.environment["EDITOR"] = str(editor)
    code, output = _on_terminal(
        shop,
        [("Edit again?", "y\n"), ("Move 1 edited, leave 0?", "y\n")],
        *("dlq", "replay", "--id", ids[0], "--edit"),
    )
    assert code == 0, output
    assert "the body is not JSON" in output
    code, output = _on_terminal(shop, [("Move 1 message", "y\n")], "dlq", "replay", "--all")
    assert code == 0, output
    assert "1 message moved back to shop.ledger" in output


def test_ctrl_c_ends_a_replay_where_nothing_is_under_way(parked: tuple[Shop, list[str]]) -> None:
    shop, _ = parked
    with shop.process("dlq", "replay", "--all", "--rate", "1/m", "--yes") as process:
        engine = _engine(shop)
        _wait_noted(engine, done=1)
        assert process.end(signal.SIGINT) == 1
        assert "interrupted after 1 of 2; the rest is untouched" in process.err
        assert "go on with: --resume" in process.err
    (noted,) = shop.json("operations", "list")["operations"]
    assert (noted["state"], noted["done"], noted["total"]) == ("interrupted", 1, 2)
    resumed = shop.json("dlq", "replay", "--resume", noted["id"], "--rate", "100", "--yes")
    assert resumed["replayed"] == 1
    noted = shop.json("operations", "show", noted["id"])
    assert (noted["state"], noted["done"], noted["runs"]) == ("done", 2, 2)
    assert json.dumps(noted["parameters"]).count("shop.ledger") == 1


def _engine(shop: Shop) -> OperationLog:
    from eventbus.database import make_engine

    return OperationLog(make_engine(f"sqlite:///{shop.folder}/eventbus.db"))


def _wait_noted(log: OperationLog, done: int) -> None:
    from tests.waiting import wait_until

    wait_until(lambda: any(one.done == done for one in log.latest(1)), 30, f"{done} done")


def test_doctor_finds_dead_letters(parked: tuple[Shop, list[str]]) -> None:
    shop, _ = parked
    done = shop.run("doctor")
    assert done.returncode == 4
    assert "eventbus dlq list --queue ledger" in done.stdout
