"""What eventbus takes from a Django project: its settings, and which database is the bus's.

Imports nothing of Django before a project is configured, so that it costs others nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from eventbus.errors import ConfigurationError

_SCHEMES = {
    "postgresql": "postgresql+psycopg",
    "postgis": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "sqlite3": "sqlite",
    "spatialite": "sqlite",
}


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
        found["database_url"] = database_url("default")
    return found


def application() -> str | None:
    """``EVENTBUS["app"]``: the bus of ``manage.py eventbus``, as ``module:attr``."""
    from django.conf import settings as project

    app: str | None = getattr(project, "EVENTBUS", {}).get("app")
    return app


def database_url(alias: str) -> str:
    """The SQLAlchemy URL of the project's database `alias`.

    Raises
    ------
    ConfigurationError
        Its engine is none that holds an outbox.
    """
    from django.db import connections

    # The connection's own settings: a test run has replaced the name there.
    values = connections[alias].settings_dict
    engine = str(values["ENGINE"]).rpartition(".")[2]
    scheme = _SCHEMES.get(engine)
    if scheme is None:
        raise ConfigurationError(
            f"the Django database {alias!r} has the engine {values['ENGINE']!r}; the outbox needs "
            f"PostgreSQL, MySQL or SQLite"
        )
    if scheme == "sqlite":
        return f"sqlite:///{values['NAME']}"
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
    """The alias of the project's database that is at `url`; None without one."""
    from django.db import connections
    from sqlalchemy.engine import make_url

    from eventbus.outbox.writer import same_database

    alias: str
    for alias in connections:
        with contextlib.suppress(ConfigurationError):
            if same_database(make_url(database_url(alias)), make_url(url)):
                return alias
    return None


@contextlib.contextmanager
def fresh_connections() -> Iterator[None]:
    """Around each handler what Django does around each request: close what broke or is too old."""
    from django.db import close_old_connections

    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()
