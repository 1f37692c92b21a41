"""The command that is started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventbus.cli import relaunch
from eventbus.cli.relaunch import Launch


def launch(code: str, folder: Path) -> Launch:
    return Launch((sys.executable, "-c", code), str(folder), dict(os.environ))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("", None),
        ("import sys; print('hello')", None),
        ("import sys; sys.exit(2)", "it ended with 2"),
        ("import sys; print('error: no bus', file=sys.stderr); sys.exit(2)", "no bus"),
        (
            "import sys; print('error: no bus\\nTry --help.', file=sys.stderr); sys.exit(2)",
            "no bus",
        ),
        ("raise RuntimeError('of the interpreter')", "RuntimeError: of the interpreter"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it ended with -9"),
        ("import sys; sys.stderr.buffer.write(b'\\xff'); sys.exit(1)", "\\xff"),
    ],
)
def test_a_trial_tells_why_it_would_not_work(
    tmp_path: Path, code: str, problem: str | None
) -> None:
    assert launch(code, tmp_path).problem() == problem


def test_a_trial_that_never_ends_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaunch, "TRIAL_SECONDS", 0.2)
    problem = launch("import time; time.sleep(60)", tmp_path).problem()
    assert problem == "it was not loaded within 0.2 s"


def test_a_trial_knows_that_it_is_one(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom eventbus.cli.relaunch import is_trial\nsys.exit(0 if is_trial() else 1)"
    )
    assert launch(code, tmp_path).problem() is None
    assert launch(code, tmp_path).child().wait(30) == 1


CHANGES = """
import os
from eventbus.cli.relaunch import Launch
launch = Launch.of_this_process()
if os.environ.get("AGAIN"):
    print(os.getpid(), os.getcwd(), os.environ["AGAIN"], flush=True)
else:
    print(os.getpid(), os.getcwd(), "first", flush=True)
    launch.environment["AGAIN"] = "again"
    os.environ["AGAIN"] = "what the application made of it"
    os.chdir("/")
    launch.replace_process()
"""


def test_a_process_starts_again_as_it_began(tmp_path: Path) -> None:
    """With its number, its folder and its environment, whatever it has changed since."""
    done = subprocess.run(
        [sys.executable, "-c", CHANGES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    first, again = (line.split(" ", 2) for line in done.stdout.splitlines())
    assert first[2] == "first"
    assert again == [first[0], first[1], "again"]
