"""Idempotency: an event's effect at a handler happens once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventbus.django import project
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.bus import EventBus

    from .django import DjangoInbox
    from .inbox import Inbox
    from .port import IdempotencyStore


def make_store(bus: EventBus) -> IdempotencyStore:
    """The store that the settings name: Redis where `redis_url` is set, else the database.

    Raises
    ------
    ConfigurationError
        `redis_url` is set and the client is not installed.
    """
    if bus.settings.redis_url is None:
        from .sql import SqlStore

        return SqlStore(bus.engine, bus.service)
    try:
        from .redis import RedisStore
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"redis_url is set, but the package {error.name!r} is not installed; "
            f"pip install 'eventbus[redis]'"
        ) from None
    return RedisStore(bus.settings.redis_url, bus.service)


def make_inbox(bus: EventBus) -> Inbox | DjangoInbox:
    """The transactional inbox: through Django's connection in a Django project, else our own."""
    if project.configured():
        alias = project.alias_of(bus.settings.database_url)
        if alias is not None:
            from .django import DjangoInbox

            return DjangoInbox(alias, bus.service)
    from .inbox import Inbox

    return Inbox(bus.engine, bus.service)
