"""A private PostgreSQL."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence

import psycopg

from .server import Server, find_binary


class PostgreSQL(Server):
    """Keeps what was committed over `kill`, not when the machine fails: fsync is off.

    `settings` are parameters of postgresql.conf: `PostgreSQL(settings={"fsync": "on"})`.
    """

    name = "postgresql"
    users = ("postgres",)
    stop_signal = signal.SIGINT  # "fast"; SIGTERM would wait for the clients to leave
    _numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The URL of the maintenance database; tests ask for `create_database()`."""
        return self._url("postgres")

    def create_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database of `create_database()`, and cut off whoever is connected to it."""
        name = url.rpartition("/")[2]
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://eventbus:secret@127.0.0.1:{self.port}/{database}"

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=eventbus password=secret dbname=postgres "
            "connect_timeout=5",
            autocommit=True,
        )

    def _execute(self, statement: str) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def _prepare(self) -> None:
        (self.folder / "password").write_text("secret")
        (self.folder / "password").chmod(0o644)
        self._run(
            self._binary("initdb"),
            *("--pgdata", str(self.folder / "data"), "--username", "eventbus"),
            *("--auth", "scram-sha-256", "--pwfile", str(self.folder / "password")),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )

    def _command(self) -> Sequence[str]:
        settings: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": str(self.folder),
            "max_connections": 200,
            "fsync": "off",
            **self.settings,
        }
        command = [self._binary("postgres"), "-D", str(self.folder / "data")]
        for parameter, value in settings.items():
            command += ["-c", f"{parameter}={value}"]
        return command

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    @staticmethod
    def _binary(name: str) -> str:
        return find_binary(name, f"/usr/lib/postgresql/*/bin/{name}", package="postgresql")
