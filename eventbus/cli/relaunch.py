"""Starts this very command again: in place after a HUP, on trial before that, beside a reloader.

What is started again gets the arguments, the folder and the environment that this process began
with, whatever the application has made of them since.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

#: In the environment of a process that ends before it would begin to work.
_TRIAL = "_EVENTBUS_TRIAL"

#: An application that has not been imported by then, on trial, will not be.
TRIAL_SECONDS = 120.0


@dataclass(frozen=True)
class Launch:
    """How a process was started.

    Parameters
    ----------
    arguments:
        The interpreter first.
    """

    arguments: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]

    @classmethod
    def of_this_process(cls) -> Launch:
        """To be called before the application is imported."""
        return cls((sys.executable, *sys.orig_argv[1:]), os.getcwd(), dict(os.environ))

    def child(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start it again beside this process, on the same terminal."""
        return subprocess.Popen(
            self.arguments, cwd=self.folder, env={**self.environment, **environment}
        )

    def replace_process(self) -> NoReturn:
        """Start it again in place of this process, which keeps its number."""
        os.chdir(self.folder)
        os.execve(self.arguments[0], self.arguments, dict(self.environment))

    def problem(self) -> str | None:
        """Start it on trial: why it would not come so far as to work, or None if it would."""
        try:
            done = subprocess.run(
                self.arguments,
                cwd=self.folder,
                env={**self.environment, _TRIAL: "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=TRIAL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it was not loaded within {TRIAL_SECONDS:g} s"
        if done.returncode == 0:
            return None
        return _reason(done.stderr.decode("utf-8", "backslashreplace")) or (
            f"it ended with {done.returncode}"
        )


def is_trial() -> bool:
    """Whether this process was started only to see if it could be."""
    return bool(os.environ.get(_TRIAL))


def _reason(errors: str) -> str:
    """The sentence of our own among what it printed, else its last line."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    ours = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (ours or lines or [""])[-1]
