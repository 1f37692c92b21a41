"""``eventbus schema serve``: the schema registry over HTTP."""

from __future__ import annotations

import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import click

from eventbus.cli.application import DATABASE, REGISTRY, application_option, bus_or_settings
from eventbus.cli.options import Number, log_level_option
from eventbus.errors import ConfigurationError, MissingDependency

_PACKAGES = ("waitress", "werkzeug")
#: A file with more than a token in it is some other file.
_TOKEN_MAX_BYTES = 4096


@click.command("serve")
@application_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen; 0.0.0.0 for every network of this machine.",
)
@click.option(
    "--port",
    type=Number(0, 65535),
    default=8081,
    show_default=True,
    help="0: one that is free.",
)
@click.option(
    "--token",
    metavar="TEXT",
    help="What requests must have, as a bearer token or as the password of basic authentication. "
    "Whoever lists this machine's processes sees an option: prefer --token-file, or "
    "EVENTBUS_SCHEMA_SERVE_TOKEN.",
)
@click.option("--token-file", type=click.Path(), metavar="FILE", help="A file with the token.")
@click.option(
    "--without-token",
    is_flag=True,
    help="Let everybody who reaches HOST read and register, although it is not this machine only.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Without a token: a name that the registry is reached by, such as registry.example.org; "
    "may be repeated. Addresses and names without a dot need not be given.",
)
@log_level_option
def command(
    host: str,
    port: int,
    token: str | None,
    token_file: str | None,
    without_token: bool,
    hosts: tuple[str, ...],
    log_level: str | None,
) -> None:
    """Serve the schema registry over HTTP, for clients of every language.

    It speaks the API of the Confluent Schema Registry. The schemas are in the database of the
    application, or in the one that registry_url names; without -A in EVENTBUS_DATABASE_URL. The
    tables are made by 'eventbus db upgrade', in a SQLite file by this command.

    Ends with TERM or INT, after the requests that are being answered.
    """
    _require_packages()
    from eventbus.cli import start
    from eventbus.cli.banner import show_banner
    from eventbus.contracts.registry.opening import local_registry_engine
    from eventbus.contracts.registry.server.guard import Guard, is_loopback

    guard = Guard(_token(token, token_file), hosts)
    if not guard.has_token and not without_token and not is_loopback(host):
        raise ConfigurationError(
            f"--host {host} can be reached from other machines, and no token is given; give "
            f"--token-file, or --without-token to let everybody read and register"
        )
    bus = bus_or_settings(DATABASE, REGISTRY)
    start.set_up(bus, log_level)
    engine = local_registry_engine(bus)
    start.prepare_database(engine)

    from eventbus.contracts.registry.database import DatabaseRegistry
    from eventbus.contracts.registry.server.application import RegistryApplication
    from eventbus.contracts.registry.server.listening import RegistryServer

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    server = RegistryServer(RegistryApplication(DatabaseRegistry(engine), guard), host, port)
    server.start()
    shown = {
        "registry": engine.url.render_as_string(),
        "address": server.address,
        "token": "required" if guard.has_token else "none: whoever reaches it may register",
    }
    show_banner(bus, "schema serve", options=shown)
    stopped.wait()
    server.close()


def _require_packages() -> None:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise MissingDependency(
            f"schema serve needs {' and '.join(missing)}; pip install 'eventbus[registry]'"
        )


def _token(token: str | None, file: str | None) -> str | None:
    if file is None:
        return token
    if token is not None:
        raise click.UsageError("give --token or --token-file, not both")
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_TOKEN_MAX_BYTES + 1)
        text = data.decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        raise ConfigurationError(f"--token-file {file!r} cannot be read: {why}") from None
    if not text or len(data) > _TOKEN_MAX_BYTES or len(text.splitlines()) != 1:
        raise ConfigurationError(f"--token-file {file!r} must hold one line, the token")
    return text
