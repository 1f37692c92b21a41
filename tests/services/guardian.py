"""No server outlives the process that started it, not even when that is SIGKILLed.

A small process of its own watches the owner. When the owner has ended it kills every process whose
working folder lies in the owner's temporary folder (all servers run there), and removes the folder.
Nothing has to be registered, so there is no moment at which a new server is not covered.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

_folder: Path | None = None
_owner: int | None = None


def guarded_folder() -> Path:
    """The temporary folder of this process, watched by a guardian from the first call on."""
    global _folder, _owner
    if _folder is None or _owner != os.getpid():  # a forked child owns nothing of its parent's
        _owner = os.getpid()
        _folder = Path(tempfile.mkdtemp(prefix="eventbus-tests-"))
        _folder.chmod(0o711)  # servers that refuse to run as root enter it as another user
        guardian = subprocess.Popen(
            [sys.executable, __file__, str(_owner), str(_folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        atexit.register(_dismiss, guardian, _owner)
    return _folder


def _dismiss(guardian: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() == owner:
        assert guardian.stdin is not None
        guardian.stdin.close()
        guardian.wait(timeout=30)


def _processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # psutil answers with '' for processes that we may not look at, and with "... (deleted)".
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


def _watch(owner: int, folder: Path) -> None:
    with suppress(ProcessLookupError):
        owner_ended = os.pidfd_open(owner)
        if os.getppid() == owner:
            select.select([owner_ended, sys.stdin], [], [])
    while processes := _processes_in(folder):
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=0.2)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), Path(sys.argv[2]))
