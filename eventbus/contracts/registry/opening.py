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
    url = _settings(bus).registry_url
    if url is not None and _is_http(url):
        from eventbus.contracts.registry.remote import RemoteRegistry

        return RemoteRegistry(url, _own_engine(bus))
    from eventbus.contracts.registry.database import DatabaseRegistry

    return DatabaseRegistry(local_registry_engine(bus))


def local_registry_engine(bus: EventBus | Settings) -> Engine:
    """The database with the contract tables: the one in `registry_url`, or the application's own.

    Where `registry_url` is an address, that is where the application's own tables are served.
    """
    url = _settings(bus).registry_url
    return _own_engine(bus) if url is None or _is_http(url) else _engine(url)


def _settings(bus: EventBus | Settings) -> Settings:
    return bus if isinstance(bus, Settings) else bus.settings


def _is_http(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _own_engine(bus: EventBus | Settings) -> Engine:
    return _engine(bus.database_url) if isinstance(bus, Settings) else bus.engine


def _engine(url: str) -> Engine:
    from sqlalchemy.engine import make_url

    from eventbus.database import make_engine, time_outs

    return make_engine(url, connect_args=time_outs(make_url(url), "eventbus registry"))
