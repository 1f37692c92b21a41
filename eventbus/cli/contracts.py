"""What the commands of ``eventbus schema`` share: the application or its settings, the registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventbus.cli.application import DATABASE, NO_SERVICE, bus_or_settings, is_named, the_bus

if TYPE_CHECKING:
    from eventbus.bus import EventBus

_Function = TypeVar("_Function", bound=Callable[..., Any])

REGISTRY = "EVENTBUS_REGISTRY_URL"


def registry_option(text: str) -> Callable[[_Function], _Function]:
    """Add ``--registry``."""
    return click.option("--registry", "with_registry", is_flag=True, help=text)


def any_bus(with_registry: bool) -> EventBus:
    """The application's bus, or one for the settings in the environment.

    Parameters
    ----------
    with_registry:
        A registry is going to be asked: it must be named somewhere.
    """
    if is_named():
        return the_bus()
    if with_registry:
        return bus_or_settings(REGISTRY, DATABASE)
    from eventbus.bus import EventBus

    return EventBus(NO_SERVICE)


def schema_lines(text: str, format: str) -> list[str]:
    """A schema for people: JSON indented, Protobuf as it is."""
    import json

    if format == "protobuf":
        return text.splitlines()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text.splitlines()
    return json.dumps(value, indent=2, ensure_ascii=False).splitlines()
