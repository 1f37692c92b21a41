"""A whole Django project in one module; the environment says where. Run as ``manage.py``."""

from __future__ import annotations

import os
import sys

from sqlalchemy.engine import make_url

_url = make_url(os.environ["PROJECT_DATABASE_URL"])
_ENGINES = {"sqlite": "sqlite3", "postgresql": "postgresql"}
_database = {
    "ENGINE": f"django.db.backends.{_ENGINES[_url.get_backend_name()]}",
    "NAME": _url.database,
    "USER": _url.username or "",
    "PASSWORD": _url.password or "",
    "HOST": _url.host or "",
    "PORT": _url.port or "",
}

SECRET_KEY = "not-a-secret"
DATABASES = {
    "default": _database,
    "archive": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PROJECT_ARCHIVE"],
    },
}
INSTALLED_APPS = [
    "eventbus.django",
    "tests.integration.django.auditing",
    "tests.integration.django.shop",
]
EVENTBUS = {"app": "tests.integration.django.shop.handlers:bus", "claim_lease": "3s"}
USE_TZ = True

if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.django.project"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
