"""What all private servers have in common: a process, started and stopped by its id."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import psutil
from typing_extensions import Self

from tests.waiting import WaitTimeout, wait_until

from .guardian import guarded_folder
from .ports import Port


class ServerError(Exception):
    """A private server could not be started or did not do what it was asked to."""


def find_binary(name: str, *patterns: str, package: str) -> str:
    """The path of `name`, from PATH or from one of the absolute glob patterns, the newest first."""
    candidates = [
        str(path)
        for pattern in patterns
        for path in sorted(Path("/").glob(pattern.lstrip("/")), key=_version, reverse=True)
    ]
    if on_path := shutil.which(name):
        candidates.append(on_path)
    if not candidates:
        raise ServerError(
            f"{name} is not installed: run `apt-get install {package}`, "
            "or `make servers` for all that the tests need"
        )
    return candidates[0]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _version(path: Path) -> list[int]:
    digits = "".join(c if c.isdigit() else " " for c in str(path))
    return [int(number) for number in digits.split()]


class Server(ABC):
    """A private server on a free port of 127.0.0.1, which it keeps over `stop` and `kill`.

    `settings` are the server's own configuration settings, added to those that a private server
    needs.
    """

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 120.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    #: Who runs the server when we are root and the server refuses to be; the first who exists.
    users: ClassVar[Sequence[str]] = ()

    def __init__(self, settings: Mapping[str, str | int] | None = None) -> None:
        self.settings = dict(settings or {})
        self._port: Port | None = None
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    # What a server says about itself

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """The server's command line, in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """True once a client is served; OSError is "not yet"."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect."""

    def _environment(self) -> dict[str, str]:
        return {}

    def _prepare(self) -> None:
        """Run once, before the first start: create the data folder."""

    def _start_companions(self) -> None:
        """Run before each start: processes that the server needs beside it."""

    def _stop_companions(self) -> None:
        """Run after each stop and kill."""

    # The interface

    def start(self) -> Self:
        """Start, and return when the server answers. A no-op when it runs."""
        if self.running:
            return self
        if self._folder is not None:
            self._launch()
            return self
        for attempt in (1, 2, 3):
            self._port = Port()
            try:
                # Short: the path of a unix socket has 107 characters at most.
                self._folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=guarded_folder()))
                if self._user is not None:
                    shutil.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
                self._prepare()
                self._launch()
            except BaseException as error:
                in_use = "already in use" in str(error).lower() or "eaddrinuse" in str(error)
                self.close()
                if attempt == 3 or not in_use:
                    raise
            else:
                break
        return self

    def stop(self, timeout: float = 30.0) -> None:
        """Shut down in order, as an operator would; SIGKILL after `timeout` seconds."""
        if self.running:
            self.resume()
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self._kill_all()
        self._stop_companions()

    def kill(self) -> None:
        """SIGKILL to the server and to its child processes at once, as when its machine fails."""
        if self.running:
            self._kill_all()
        self._stop_companions()

    def restart(self) -> None:
        """Stop and start: same port, and the data of a server that keeps any."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers, as when the network is cut."""
        for process in self._tree():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """SIGCONT, after `pause`."""
        for process in reversed(self._tree()):
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def close(self) -> None:
        """Stop for good: forget the data and give the port back."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._port is not None:
            self._port.release()
            self._port = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError(f"{self.name} has not been started")
        return self._process

    @property
    def port(self) -> int:
        """The same until `close`."""
        if self._port is None:
            raise ServerError(f"{self.name} has not been started")
        return self._port.number

    @property
    def folder(self) -> Path:
        """Its data, its configuration and its log."""
        if self._folder is None:
            raise ServerError(f"{self.name} has not been started")
        return self._folder

    @property
    def log(self) -> str:
        """Everything that the server has written, over all its starts."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # How it is done

    def _launch(self) -> None:
        self._start_companions()
        self._process = self._spawn(self._command())
        try:
            wait_until(
                lambda: not self.running or self._answers(),
                self.start_timeout,
                f"{self.name} answers",
                interval=0.02,
                retry_on=OSError,
            )
        except WaitTimeout as error:
            self.kill()
            raise ServerError(f"{error}\n{self._log_tail()}") from None
        except BaseException:  # an interrupt
            self.kill()
            raise
        if not self.running:
            self._stop_companions()
            raise ServerError(
                f"{self.name} ended with exit code {self.process.returncode} instead of starting\n"
                f"{self._log_tail()}"
            )

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal is for the test run, which then stops the
        # server.
        with open(self.folder / "server.log", "ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self._surroundings(),
            )

    def _run(self, *command: str, timeout: float = 120.0) -> str:
        """Run a tool of the server's to its end, as the server's user; its output."""
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            text=True,
            check=False,
            **self._surroundings(),
        )
        if done.returncode != 0:
            raise ServerError(
                f"{Path(command[0]).name} ended with exit code {done.returncode}\n{done.stdout}"
            )
        return done.stdout

    def _surroundings(self) -> dict[str, object]:
        # The working folder is what the guardian knows our processes by.
        where: dict[str, object] = {
            "cwd": self.folder,
            "env": {
                "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8",
                "HOME": str(self.folder),
                "TMPDIR": str(self.folder),
                **self._environment(),
            },
        }
        if self._user is not None:
            where |= {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        return where

    @property
    def _user(self) -> pwd.struct_passwd | None:
        if os.geteuid() != 0 or not self.users:
            return None
        for name in (*self.users, "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(name)
        raise ServerError(f"{self.name} does not run as root, and there is no user 'nobody'")

    def _tree(self) -> list[psutil.Process]:
        if not self.running:
            return []
        try:
            server = psutil.Process(self.pid)
            return [server, *server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _kill_all(self) -> None:
        tree = self._tree()
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        wait_until(lambda: not any(map(_alive, tree)), 10, f"the processes of {self.name} are gone")

    def _log_tail(self) -> str:
        lines = self.log.splitlines()
        return "\n".join(["its log ends with:", *lines[-30:]]) if lines else "its log is empty"
