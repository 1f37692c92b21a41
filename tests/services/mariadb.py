"""A private MariaDB."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress

import pymysql

from .server import Server, find_binary


class MariaDB(Server):
    """Keeps what was committed over `kill`; may lose a second of it when the machine fails.

    `settings` are system variables: `MariaDB(settings={"max_connections": 10})`.
    """

    name = "mariadb"
    users = ("mysql",)
    _numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The URL of the maintenance database; tests ask for `create_database()`."""
        return self._url("mysql")

    def create_database(self) -> str:
        """A new, empty database; its URL."""
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database of `create_database()`, and cut off whoever is connected to it."""
        name = url.rpartition("/")[2]
        with self._connect() as connection, connection.cursor() as cursor:
            # An open transaction would hold a lock on its tables, and the DROP would wait for it.
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (thread,) in cursor.fetchall():
                with suppress(pymysql.OperationalError):  # left in the meantime
                    cursor.execute("KILL %s", (thread,))
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")

    def _url(self, database: str) -> str:
        return f"mysql+pymysql://eventbus:secret@127.0.0.1:{self.port}/{database}"

    def _connect(self) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="eventbus",
            password="secret",
            connect_timeout=5,
            autocommit=True,
        )

    def _execute(self, statement: str) -> None:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def _prepare(self) -> None:
        (self.folder / "users.sql").write_text(
            "CREATE USER IF NOT EXISTS eventbus@'%' IDENTIFIED BY 'secret';\n"
            "GRANT ALL PRIVILEGES ON *.* TO eventbus@'%' WITH GRANT OPTION;\n"
        )
        (self.folder / "users.sql").chmod(0o644)
        self._run(
            find_binary("mariadb-install-db", package="mariadb-server"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def _command(self) -> Sequence[str]:
        settings: dict[str, str | int] = {
            "datadir": str(self.folder / "data"),
            "bind_address": "127.0.0.1",
            "port": self.port,
            "socket": str(self.folder / "socket"),
            "pid_file": str(self.folder / "pid"),
            "tmpdir": str(self.folder),
            "init_file": str(self.folder / "users.sql"),
            "skip_name_resolve": "ON",
            "character_set_server": "utf8mb4",
            "innodb_flush_log_at_trx_commit": 2,
            **self.settings,
        }
        binary = find_binary("mariadbd", "/usr/sbin/mariadbd", package="mariadb-server")
        return [binary, "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except pymysql.OperationalError:
            return False
        return True
