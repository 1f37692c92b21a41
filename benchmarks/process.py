"""Contestants as processes of their own: a module, a JSON object in, JSON objects out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .errors import BenchmarkFailed

#: A contestant that takes longer hangs.
LONGEST_SECONDS = 300.0
#: What a process gets to end after SIGTERM.
STOP_SECONDS = 30.0


def compete(
    module: str, environment: Mapping[str, str] | None = None, **given: Any
) -> dict[str, Any]:
    """Run ``benchmarks.contestants.<module>`` to its end and return what it found."""
    command = [sys.executable, "-m", f"benchmarks.contestants.{module}", json.dumps(given)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=LONGEST_SECONDS,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkFailed(
            f"{module} did not end within {LONGEST_SECONDS:g} s\n{_tail(error.stderr)}"
        ) from None
    if done.returncode != 0:
        raise BenchmarkFailed(f"{module} ended with {done.returncode}\n{_tail(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def given() -> dict[str, Any]:
    """In a contestant: what `compete` was given."""
    found: dict[str, Any] = json.loads(sys.argv[1])
    return found


def answer(**found: Any) -> None:
    """In a contestant: what `compete` returns."""
    print(json.dumps(found), flush=True)


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is told to drain at the end of the block and must end with 0."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield process
            process.terminate()
            code = process.wait(STOP_SECONDS)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code != 0:
            output.seek(0)
            raise BenchmarkFailed(f"{command[1:]} ended with {code}\n{_tail(output.read())}")


def _tail(output: str | bytes | None) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return "\n".join(text.splitlines()[-30:])
