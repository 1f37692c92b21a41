"""Flask integration: handlers run in the application's context, settings come from its config.

Example::

    app = Flask(__name__)
    app.config["EVENTBUS_BROKER_URL"] = "amqp://localhost/"
    bus = init_app(app, "shop")

``flask eventbus worker`` then runs the command line of eventbus for that bus; publishing takes the
session of Flask-SQLAlchemy as it is: ``bus.publish(event, session=db.session)``.
"""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from eventbus.bus import EventBus
from eventbus.settings import Settings

if TYPE_CHECKING:
    from flask import Flask

    from eventbus.context import Context
    from eventbus.event import Event
    from eventbus.middleware import ConsumeNext, ConsumeNextAsync

_NAMES = {f"EVENTBUS_{item.name.upper()}" for item in fields(Settings)}


def init_app(app: Flask, service: str, **settings: Any) -> EventBus:
    """Make the bus of a Flask application and add ``flask eventbus`` to its commands.

    Parameters
    ----------
    app:
        Its configuration is read now: ``EVENTBUS_<NAME>`` for each setting, and
        ``SQLALCHEMY_DATABASE_URI`` where there is no ``EVENTBUS_DATABASE_URL``.
    service, settings:
        As of `EventBus`; keywords and the environment win over the configuration.

    Raises
    ------
    ConfigurationError
        A setting cannot be used, or is none.
    """
    bus = EventBus(service, framework=_configured(app), **settings)
    bus.add_middleware(_ApplicationContext(app))
    app.extensions["eventbus"] = bus
    _add_command(app, bus)
    return bus


class _ApplicationContext:
    """Each run of a handler is in an application context of its own, as each request is."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def consume_scope(self, call_next: ConsumeNext, event: Event, context: Context) -> Any:
        with self._app.app_context():
            return call_next(event, context)

    async def consume_scope_async(
        self, call_next: ConsumeNextAsync, event: Event, context: Context
    ) -> Any:
        with self._app.app_context():
            return await call_next(event, context)


def _configured(app: Flask) -> dict[str, Any]:
    """The settings in the application's configuration, and what stands there like one."""
    found = {
        key.removeprefix("EVENTBUS_").lower(): value
        for key, value in app.config.items()
        # A configuration filled from the environment also has the options of commands.
        if key.startswith("EVENTBUS_") and (key in _NAMES or key not in os.environ)
    }
    if "SQLALCHEMY_DATABASE_URI" in app.config:
        found.setdefault("database_url", _address(app, app.config["SQLALCHEMY_DATABASE_URI"]))
    return found


def _address(app: Flask, uri: Any) -> Any:
    """What Flask-SQLAlchemy makes of `uri`: a file of SQLite is in the instance folder."""
    text = str(uri)
    scheme, separator, path = text.partition(":///")
    name = path.partition("?")[0]
    if not separator or not scheme.startswith("sqlite") or name in ("", ":memory:"):
        return uri
    if os.path.isabs(name) or name.startswith("file:"):
        return uri
    os.makedirs(app.instance_path, exist_ok=True)
    return f"{scheme}:///{os.path.join(app.instance_path, path)}"


def _add_command(app: Flask, bus: EventBus) -> None:
    import click

    @app.cli.command(
        "eventbus",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
        help="Run a command of eventbus: worker, dispatcher, db upgrade, dlq list, ...",
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        from eventbus.cli import main

        main(arguments, bus=bus)
