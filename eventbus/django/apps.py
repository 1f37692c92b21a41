"""The Django application: declares the handlers, and makes the tables with ``migrate``."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class EventBusConfig(AppConfig):
    """``eventbus.django`` in ``INSTALLED_APPS``."""

    name = "eventbus.django"
    label = "eventbus"
    verbose_name = "eventbus"

    def ready(self) -> None:
        """Import ``handlers`` of each installed application."""
        autodiscover_modules("handlers")
        post_migrate.connect(_upgrade, sender=self)


def _upgrade(using: str, **_: Any) -> None:
    """Let ``migrate`` make the tables of eventbus too, so that test databases have them."""
    from eventbus import database
    from eventbus.bus import live_buses
    from eventbus.django import project

    if any(project.alias_of(bus.settings.database_url) == using for bus in live_buses()):
        engine = database.make_engine(project.database_url(using))
        try:
            database.upgrade(engine)
        finally:
            engine.dispose()
