"""Flask integration: handlers run in the application's context, settings come from its config.

Example::

    app = Flask(__name__)
    app.config["EVENTBUS_BROKER_URL"] = "amqp://localhost/"
    bus = init_app(app, "shop")

``flask eventbus worker`` then runs the command line of eventbus for that bus; publishing takes the
session of Flask-SQLAlchemy as it is: ``bus.publish(event, session=db.session)``.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from eventbus.bus import EventBus
from eventbus.settings import Settings

if TYPE_CHECKING:
    from flask import Flask


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
        A setting cannot be used.
    """
    configured = {
        item.name: app.config[f"EVENTBUS_{item.name.upper()}"]
        for item in fields(Settings)
        if f"EVENTBUS_{item.name.upper()}" in app.config
    }
    if "SQLALCHEMY_DATABASE_URI" in app.config:
        configured.setdefault("database_url", app.config["SQLALCHEMY_DATABASE_URI"])
    bus = EventBus(service, framework=configured, **settings)
    bus.handler_scopes.append(app.app_context)
    app.extensions["eventbus"] = bus
    _add_command(app, bus)
    return bus


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
