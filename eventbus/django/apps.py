"""The Django application: imports every ``handlers`` module, so that handlers are declared."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class EventBusConfig(AppConfig):
    """``eventbus.django`` in ``INSTALLED_APPS``."""

    name = "eventbus.django"
    label = "eventbus"
    verbose_name = "eventbus"

    def ready(self) -> None:
        """Import ``handlers`` of each installed application."""
        autodiscover_modules("handlers")
