"""A Django project publishes through its own connection, and handles with its own ORM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventbus.database import make_engine
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["sqlite", "postgres"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A project with an empty, migrated database, and a second one."""
    url = request.getfixturevalue(f"{request.param}_url")
    environment = {
        **os.environ,
        "PROJECT_DATABASE_URL": url,
        "PROJECT_ARCHIVE": str(tmp_path / "archive.db"),
    }
    _run(environment, "migrate", "--run-syncdb", "-v0")
    return environment


def _run(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "tests.integration.django.project", *arguments]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _script(environment: dict[str, str], *arguments: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.django.script", *arguments],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_migrate_makes_the_tables_of_eventbus(environment: dict[str, str]) -> None:
    _run(environment, "eventbus", "db", "check")
    _run(environment, "migrate", "-v0")
    _run(environment, "eventbus", "db", "check")


def test_what_goes_wrong_is_said_and_leaves_nothing(environment: dict[str, str]) -> None:
    found = _script(environment, "--all")
    assert found["spoilt"][1:3] == ["TransactionRefused", "TransactionRefused"]
    assert found["spoilt"][3:] == ["EventBusError", "committed", "done before"]
    # PostgreSQL cannot go on after an error that was caught; SQLite can, and keeps the effect.
    on_postgresql = environment["PROJECT_DATABASE_URL"].startswith("postgresql")
    assert found["spoilt"][0] == ("TransactionRefused" if on_postgresql else "committed")
    assert found["spoilt_orders"] == (0 if on_postgresql else 1)
    assert found["skipped"] == ["stale", "there already", "done before", "done before", 0]
    assert found["woken"] == [0, 0, 1]
    refused, archived = found["other"]
    assert refused.startswith("NotInTransaction")
    assert "transaction.atomic(using='archive')" in refused
    assert archived == 1
    code, text = found["commands"]
    assert code == "2"
    assert "worker -Q nope" in text
    assert found["missing"].startswith("DatabaseNotMigrated")
    assert "manage.py eventbus db upgrade" in found["missing"]


def test_the_projects_own_tests_publish_into_the_test_database(
    environment: dict[str, str],
) -> None:
    _run(environment, "test", "tests.integration.django.shop", "--noinput")
    engine = make_engine(environment["PROJECT_DATABASE_URL"])
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM eventbus_outbox")) == 0
    engine.dispose()


def test_publishing_shares_the_fate_of_the_atomic_block(environment: dict[str, str]) -> None:
    found = _script(environment)
    assert found["after_rollback"] == 0
    assert "transaction.atomic(" in found["outside"]
    assert found["after_outside"] == 0
    assert found["after_savepoint"] == 1, "the inner block's event must be gone"
    assert found["after_commit"] == 2
    assert found["inbox"] == [True, False]


def test_the_default_database_and_settings_are_the_projects(environment: dict[str, str]) -> None:
    url = sa.make_url(environment["PROJECT_DATABASE_URL"])
    assert sa.make_url(_script(environment)["database_url"]).database == url.database


def test_the_environment_wins_over_the_project(environment: dict[str, str]) -> None:
    environment["EVENTBUS_DATABASE_URL"] = "sqlite:///other.db"
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.django.script"],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "none of the Django DATABASES is sqlite:///other.db" in done.stderr


def test_handlers_run_with_the_orm_and_their_effects_happen_once(
    environment: dict[str, str],
) -> None:
    _script(environment)
    # On one of the databases in processes of their own, which have to find the same handlers.
    on_postgresql = environment["PROJECT_DATABASE_URL"].startswith("postgresql")
    pool = ["--pool", "prefork", "--concurrency", "1"] if on_postgresql else []
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.django.project", "eventbus", "run", *pool],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    engine = make_engine(environment["PROJECT_DATABASE_URL"])
    query = sa.text("SELECT handler, count(*) FROM shop_receipt GROUP BY handler")

    def receipts() -> dict[str, int]:
        with engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    try:
        expected = {"send": 2, "book": 2, "audit": 2}
        wait_until(lambda: receipts() == expected, 40, lambda: f"{receipts()}")
    finally:
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0].decode()
        engine.dispose()
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert output.count("event_name=order.placed handler=audit") == 2


def test_bad_arguments_of_the_management_command_end_with_the_same_codes(
    environment: dict[str, str],
) -> None:
    _run(environment, "eventbus", "worker", "-Q", "nope", code=2)
    _run(environment, "eventbus", "--help")
    environment["EVENTBUS_APP"] = "tests.integration.django.shop.handlers:nothing"
    _run(environment, "eventbus", "db", "check", code=2)


@pytest.mark.parametrize(
    ("settings", "keywords", "expected"),
    [
        ("EVENTBUS=['broker_url']", "", "ConfigurationError: EVENTBUS=['broker_url']"),
        ("EVENTBUS={'broker': 1}", "", "ConfigurationError: there is no setting 'broker'"),
        ("EVENTBUS={'exchange': 'a b'}", "", "ConfigurationError: EVENTBUS['exchange']='a b'"),
        ("EVENTBUS={'exchange': 'ours'}", "exchange='keyword'", "exchange='keyword'"),
        ("EVENTBUS={'exchange': 'ours'}", "", "exchange='ours'"),
        (
            "DATABASES={'default': {'ENGINE': 'django.db.backends.oracle', 'NAME': 'x'}}",
            "database_url='sqlite:///a.db'",
            "database_url='sqlite:///a.db'",
        ),
        (
            "DATABASES={'default': {'ENGINE': 'django.db.backends.postgresql', 'NAME': 'shop',"
            " 'USER': 'me@x', 'PASSWORD': 'p/w@d', 'HOST': '/run/pg', 'PORT': '5433'}}",
            "",
            "database_url='postgresql+psycopg://me%40x:***@:5433/shop?host=%2Frun%2Fpg'",
        ),
        (
            "DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}",
            "",
            "in-memory SQLite",
        ),
    ],
)
def test_settings_of_a_project(settings: str, keywords: str, expected: str) -> None:
    code = (
        "from django.conf import settings\n"
        f"settings.configure({settings})\n"
        "from eventbus import EventBus\n"
        f"print(EventBus('shop', {keywords}).settings)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, timeout=60
    )
    assert expected in done.stdout + done.stderr
    assert "p/w@d" not in done.stdout + done.stderr
