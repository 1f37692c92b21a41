"""A private Redis."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from .server import Server, find_binary


class Redis(Server):
    """Forgets everything when it stops, or with `persistent` keeps every acknowledged write.

    `settings` are directives of redis.conf: `Redis(settings={"maxmemory": "10mb"})`.
    """

    name = "redis"
    databases = 256

    def __init__(
        self, settings: Mapping[str, str | int] | None = None, *, persistent: bool = False
    ) -> None:
        super().__init__(settings)
        self.persistent = persistent

    @property
    def url(self) -> str:
        """The URL of database 0; the others are `database_url(number)`."""
        return self.database_url(0)

    def database_url(self, number: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{number % self.databases}"

    def _command(self) -> Sequence[str]:
        settings: dict[str, str | int] = {
            "bind": "127.0.0.1",
            "port": self.port,
            "dir": str(self.folder),
            "databases": self.databases,
            "save": "",
            "appendonly": "yes" if self.persistent else "no",
            "appendfsync": "always",
            "daemonize": "no",
            **self.settings,
        }
        command = [find_binary("redis-server", "/usr/bin/redis-server", package="redis-server")]
        for directive, value in settings.items():
            command += [f"--{directive}", str(value)]
        return command

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            # Not +LOADING; an instance with a password answers with -NOAUTH.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
