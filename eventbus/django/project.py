"""What eventbus takes from a Django project: its settings, and which database is the bus's.

Imports nothing of Django before a project is configured, so that it costs others nothing.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.settings import Settings

_SCHEMES = {
    "postgresql": "postgresql+psycopg",
    "postgis": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "sqlite3": "sqlite",
    "spatialite": "sqlite",
}

#: URL that a bus was made with to the alias of the project's database.
_aliases: dict[str, str] = {}


def configured() -> bool:
    """Whether this process runs a Django project."""
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)


def settings() -> dict[str, Any]:
    """The project's ``EVENTBUS`` with ``database_url`` from its default database; else nothing.

    Raises
    ------
    ConfigurationError
        ``EVENTBUS`` is no mapping with lower-case names.
    """
    if not configured():
        return {}
    from django.conf import settings as project

    given = getattr(project, "EVENTBUS", {})
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise ConfigurationError(
            f"EVENTBUS={given!r:.80} in the Django settings: expected a dict such as "
            f"{{'broker_url': 'amqp://...'}}"
        )
    found = {name: value for name, value in given.items() if name != "app"}
    databases = getattr(project, "DATABASES", {})
    if "database_url" not in found and databases.get("default", {}).get("ENGINE"):
        # A default database that holds no outbox is no error: the bus may be given another one.
        with contextlib.suppress(ConfigurationError):
            found["database_url"] = database_url("default")
    return found


def application() -> str | None:
    """``EVENTBUS["app"]``: the bus of ``manage.py eventbus``, as ``module:attr``."""
    from django.conf import settings as project

    app: str | None = (getattr(project, "EVENTBUS", None) or {}).get("app")
    return app


def database_url(alias: str) -> str:
    """The SQLAlchemy URL of the project's database `alias`.

    Raises
    ------
    ConfigurationError
        Its engine is none that holds an outbox.
    """
    from django.db import connections

    # As the connections have them: a test run has replaced the name there.
    values = connections.settings[alias]
    engine = str(values["ENGINE"]).rpartition(".")[2]
    scheme = _SCHEMES.get(engine)
    if scheme is None:
        raise ConfigurationError(
            f"the Django database {alias!r} has the engine {values['ENGINE']!r}; the outbox needs "
            f"PostgreSQL, MySQL or SQLite"
        )
    if scheme == "sqlite":
        name = str(values["NAME"])
        # How Django's tests share a database in memory between threads.
        uri = ("&" if "?" in name else "?") + "uri=true" if name.startswith("file:") else ""
        return f"sqlite:///{name}{uri}"
    login = quote(str(values.get("USER") or ""), safe="")
    if values.get("PASSWORD"):
        login += ":" + quote(str(values["PASSWORD"]), safe="")
    host, port = str(values.get("HOST") or ""), str(values.get("PORT") or "")
    query = ""
    if host.startswith("/"):
        host, query = "", f"?host={quote(host, safe='')}"
    address = f"{host}:{port}" if port else host
    return f"{scheme}://{login}{'@' if login else ''}{address}/{values['NAME']}{query}"


def alias_of(url: str) -> str | None:
    """The alias of the project's database that is at `url`; None without one.

    What was found is remembered: Django's test runner renames the database later, and the bus is
    to follow it.
    """
    if url not in _aliases:
        found = _find_alias(url)
        if found is None:
            return None
        _aliases[url] = found
    return _aliases[url]


def at_present(settings: Settings) -> Settings:
    """`settings` with the URL of the bus's database as it is now: in a test run another one."""
    if not configured():
        return settings
    alias = alias_of(settings.database_url)
    if alias is None:
        return settings
    present = database_url(alias)
    if same_database(present, settings.database_url):
        return settings
    return replace(settings, database_url=present)


def installed_packages() -> tuple[str, ...]:
    """The packages of the project's installed applications."""
    from django.apps import apps

    return tuple(config.name for config in apps.get_app_configs())


def same_database(one: str, other: str) -> bool:
    """Whether two URLs are of one database, as far as `publish` tells them apart."""
    from sqlalchemy.engine import make_url

    from eventbus.outbox import writer

    return writer.same_database(make_url(one), make_url(other))


def _find_alias(url: str) -> str | None:
    from django.db import connections

    alias: str
    for alias in connections:
        with contextlib.suppress(ConfigurationError):
            if same_database(database_url(alias), url):
                return alias
    return None


class FreshConnections:
    """Does around each handler what Django does around each request.

    It closes connections that broke or are too old, which Django opens again when they are needed.
    """

    def consume_scope(self, call_next: Any, event: Any, context: Any) -> Any:
        """See `eventbus.middleware`."""
        from django.db import close_old_connections

        close_old_connections()
        try:
            return call_next(event, context)
        finally:
            close_old_connections()

    async def consume_scope_async(self, call_next: Any, event: Any, context: Any) -> Any:
        """See `eventbus.middleware`; connections of coroutines belong to a thread of asgiref's."""
        from asgiref.sync import sync_to_async
        from django.db import close_old_connections

        close = sync_to_async(close_old_connections)
        await close()
        try:
            return await call_next(event, context)
        finally:
            await close()
