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
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """A project with an empty, migrated database."""
    url = request.getfixturevalue(f"{request.param}_url")
    environment = {**os.environ, "PROJECT_DATABASE_URL": url}
    _run(environment, "migrate", "--run-syncdb", "-v0")
    _run(environment, "eventbus", "db", "upgrade")
    return environment


def _run(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "tests.integration.django.project", *arguments]
    done = subprocess.run(
        command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def _script(environment: dict[str, str]) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.django.script"],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


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
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.django.project", "eventbus", "run"],
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
        wait_until(lambda: receipts() == {"send": 2, "book": 2}, 40, lambda: f"{receipts()}")
    finally:
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=30)[0].decode()
        engine.dispose()
    assert process.returncode == 0, output
    assert "Traceback" not in output


def test_bad_arguments_of_the_management_command_end_with_the_same_codes(
    environment: dict[str, str],
) -> None:
    _run(environment, "eventbus", "worker", "-Q", "nope", code=2)
    _run(environment, "eventbus", "db", "check")
