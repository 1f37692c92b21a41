"""A private RabbitMQ node."""

from __future__ import annotations

import itertools
import secrets
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from tests.waiting import wait_until

from .ports import Port
from .server import Server, ServerError, find_binary

#: Reads one line with Erlang expressions, evaluates them on the node, writes one line: ok or error,
#: value.
_SHELL = r"""
Evaluate = fun(Line) ->
    try
        {ok, Tokens, _} = erl_scan:string(Line),
        {ok, Expressions} = erl_parse:parse_exprs(Tokens),
        case rpc:call('%s', erl_eval, exprs, [Expressions, []], 30000) of
            {value, Value, _} -> io:format("ok ~0tp~n", [Value]);
            Error -> io:format("error ~0tp~n", [Error])
        end
    catch _:Reason -> io:format("error ~0tp~n", [Reason])
    end
end,
Loop = fun Loop() ->
    case io:get_line("") of
        eof -> halt(0);
        Line -> Evaluate(Line), Loop()
    end
end,
Loop().
"""


class RabbitMQ(Server):
    """One node with durable data, and an epmd and a cookie of its own.

    `settings` are lines of rabbitmq.conf: `RabbitMQ(settings={"consumer_timeout": 5000})`. With
    `management` it has that plugin, whose HTTP API is at `management_url`; else it has none.
    """

    name = "rabbitmq"
    _numbers = itertools.count(1)

    def __init__(
        self, settings: Mapping[str, str | int] | None = None, *, management: bool = False
    ) -> None:
        super().__init__(settings)
        self.management = management
        self._management_port: Port | None = None
        self._distribution_port: Port | None = None
        self._epmd_port: Port | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._shell: subprocess.Popen[str] | None = None
        self._shell_lock = threading.Lock()

    @property
    def url(self) -> str:
        """The URL of the default virtual host; tests ask for `create_vhost()`."""
        return self._url("")

    @property
    def management_url(self) -> str:
        """Where the HTTP API of the management plugin is."""
        assert self._management_port is not None
        return f"http://127.0.0.1:{self._management_port}"

    @property
    def node(self) -> str:
        return f"eventbus-{self.port}@localhost"

    def create_vhost(self) -> str:
        """A new, empty virtual host in about 20 ms; its URL."""
        name = f"test-{next(self._numbers)}"
        self.eval(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"guest">>), '
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            '<<".*">>, <<".*">>, <<".*">>, <<"guest">>)'
        )
        return self._url(name)

    def drop_vhost(self, url: str) -> None:
        """Remove a virtual host of `create_vhost()`, and close the connections to it."""
        self.eval(f'rabbit_vhost:delete(<<"{urlsplit(url).path[1:]}">>, <<"guest">>)')

    def close_connections(self, reason: str = "closed by the operator") -> None:
        """Close every client's connection with 320 CONNECTION_FORCED, as an operator does."""
        self.eval(
            f'[rabbit_networking:close_connection(Pid, "{reason}") '
            "|| Pid <- rabbit_networking:connections()]"
        )

    def set_memory_alarm(self) -> None:
        """From now on the node blocks connections that publish."""
        self.eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})")

    def clear_memory_alarm(self) -> None:
        self.eval("rabbit_alarm:clear_alarm({resource_limit, memory, node()})")

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` against this node; its output. Takes about a second: see `eval`."""
        return self._run(self._script("rabbitmqctl"), "--quiet", "--node", self.node, *arguments)

    def eval(self, expressions: str) -> str:
        """Evaluate Erlang expressions on the node in about a millisecond; the printed value.

        rabbitmq.eval("length(rabbit_networking:connections())")
        """
        with self._shell_lock:
            if self._shell is None or self._shell.poll() is not None:
                self._shell = self._open_shell()
            assert self._shell.stdin is not None
            assert self._shell.stdout is not None
            self._shell.stdin.write(" ".join(expressions.splitlines()) + " .\n")
            self._shell.stdin.flush()
            outcome, _, value = self._shell.stdout.readline().rstrip("\n").partition(" ")
        if outcome != "ok":
            raise ServerError(f"{self.name} could not evaluate {expressions!r}: {value}")
        return value

    def close(self) -> None:
        super().close()
        for port in (self._distribution_port, self._epmd_port, self._management_port):
            if port is not None:
                port.release()

    def _url(self, vhost: str) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{vhost}"

    def _prepare(self) -> None:
        self._distribution_port, self._epmd_port = Port(), Port()
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        plugins = "rabbitmq_management" if self.management else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        management: dict[str, str | int] = {}
        if self.management:
            self._management_port = Port()
            management = {
                "management.tcp.ip": "127.0.0.1",
                "management.tcp.port": str(self._management_port),
            }
        settings: dict[str, str | int] = {
            **management,
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "disk_free_limit.absolute": "1MB",
            # A loaded machine is slow to log in, and slower over TLS.
            "handshake_timeout": 60_000,
            "ssl_handshake_timeout": 60_000,
            **self.settings,
        }
        (self.folder / "rabbitmq.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in settings.items())
        )

    def _environment(self) -> dict[str, str]:
        only_local = "-kernel inet_dist_use_interface {127,0,0,1}"
        folder = self.folder
        return {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            # The start script becomes the Erlang VM instead of staying as its parent, so that
            # signals reach the node itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-noinput {only_local}",
            "RABBITMQ_CTL_ERL_ARGS": only_local,
        }

    def _command(self) -> Sequence[str]:
        return [self._script("rabbitmq-server")]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"  # the frame with Connection.Start

    def _start_companions(self) -> None:
        # An epmd that the node started itself would be a daemon, and shared with other nodes of the
        # machine.
        if self._epmd is None or self._epmd.poll() is not None:
            binary = find_binary(
                "epmd", "/usr/lib/erlang/erts-*/bin/epmd", package="rabbitmq-server"
            )
            self._epmd = self._spawn(
                [binary, "-address", "127.0.0.1", "-port", str(self._epmd_port)]
            )
            assert self._epmd_port is not None
            address = ("127.0.0.1", self._epmd_port.number)
            wait_until(
                lambda: socket.create_connection(address, timeout=1).close() is None,
                what="epmd answers",
                retry_on=OSError,
            )

    def _stop_companions(self) -> None:
        for companion in (self._shell, self._epmd):
            if companion is not None and companion.poll() is None:
                companion.kill()
                companion.wait()
        if self._shell is not None:
            for pipe in (self._shell.stdin, self._shell.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
        self._shell = self._epmd = None

    def _open_shell(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                find_binary("erl", package="rabbitmq-server"),
                *("-noshell", "-hidden", "-start_epmd", "false"),
                *("-sname", f"shell-{secrets.token_hex(4)}@localhost"),
                *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
                *("-eval", _SHELL % self.node),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
            **self._surroundings(),
        )

    @staticmethod
    def _script(name: str) -> str:
        # Not the wrapper in /usr/sbin: that one changes to the user rabbitmq and to its folders.
        wrappers = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/"
        path = find_binary(name, wrappers + name, package="rabbitmq-server")
        if Path(path).parent == Path("/usr/sbin"):
            raise ServerError(
                f"only the wrapper {path} was found: expected {wrappers}{name}, "
                "as Debian's package rabbitmq-server installs it"
            )
        return path
