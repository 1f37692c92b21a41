"""The registry that an application's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from eventbus.bus import EventBus
    from eventbus.contracts.registry.port import Registry


def open_registry(bus: EventBus | Settings) -> Registry:
    """Return the registry in the settings: `registry_url`, or else the tables in `database_url`.

    Nothing is asked yet, so a registry that is down raises later, and only where what it said
    before is of no use: answers of an ``http(s)://`` registry are kept in `database_url`.

    Parameters
    ----------
    bus:
        The application, or its settings.

    Raises
    ------
    MissingDependency
        `registry_url` begins with ``http`` and `httpx` is not installed.
    """
    settings = bus if isinstance(bus, Settings) else bus.settings
    url = settings.registry_url
    if url is None:
        from eventbus.contracts.registry.database import DatabaseRegistry

        return DatabaseRegistry(_own_engine(bus))
    if url.lower().startswith(("http://", "https://")):
        from eventbus.contracts.registry.remote import RemoteRegistry

        return RemoteRegistry(url, _own_engine(bus))
    from eventbus.contracts.registry.database import DatabaseRegistry

    return DatabaseRegistry(_engine(url))


def _own_engine(bus: EventBus | Settings) -> Engine:
    return _engine(bus.database_url) if isinstance(bus, Settings) else bus.engine


def _engine(url: str) -> Engine:
    from sqlalchemy.engine import make_url

    from eventbus.database import make_engine, time_outs

    return make_engine(url, connect_args=time_outs(make_url(url), "eventbus registry"))
