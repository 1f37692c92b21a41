"""A Flask application configures the bus, and its handlers run in its context."""

from __future__ import annotations

import asyncio
import threading

import pytest
from flask import Flask, current_app
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from eventbus import Context, Event, database
from eventbus.errors import ConfigurationError
from eventbus.flask import init_app
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.worker import Worker
from tests.waiting import wait_until


class PageSeen(Event, name="page.seen"):
    """A page was seen."""

    number: int


@pytest.fixture
def app(sqlite_url: str) -> Flask:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlite_url
    app.config["EVENTBUS_EXCHANGE"] = "pages"
    return app


def test_settings_come_from_the_configuration(
    app: Flask, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert init_app(app, "shop").settings.database_url == sqlite_url
    assert init_app(app, "shop").settings.exchange == "pages"
    monkeypatch.setenv("EVENTBUS_EXCHANGE", "environment")
    assert init_app(Flask("other"), "shop").settings.exchange == "environment"
    app.cli.commands.clear()
    assert init_app(app, "shop").settings.exchange == "environment"
    assert init_app(app, "shop", exchange="keyword").settings.exchange == "keyword"


def test_a_bad_setting_is_refused_by_its_name(app: Flask) -> None:
    app.config["EVENTBUS_CLAIM_LEASE"] = "soon"
    with pytest.raises(ConfigurationError, match="claim_lease"):
        init_app(app, "shop")


def test_a_view_publishes_and_a_handler_runs_in_the_application_context(app: Flask) -> None:
    bus = init_app(app, "shop")
    database.upgrade(bus.engine)
    session = scoped_session(sessionmaker(bus.engine, class_=Session))
    seen: list[tuple[str, int]] = []

    @bus.handler("page.seen", queue="pages")
    def count(event: PageSeen, context: Context) -> None:
        seen.append((current_app.name, event.number))

    @bus.handler("page.seen", queue="pages")
    async def count_later(event: PageSeen) -> None:
        await asyncio.sleep(0)
        seen.append((current_app.name, event.number + 1))

    @app.get("/<int:number>")
    def view(number: int) -> str:
        with session.begin():
            bus.publish(PageSeen(number=number), session=session)
        return "seen"

    worker = Worker(bus)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert app.test_client().get("/7").status_code == 200
        wait_until(lambda: Dispatcher(bus).run_once() or seen, 20, "the event at the handler")
        wait_until(lambda: len(seen) == 2, 20, "the event at both handlers")
    finally:
        worker.stop()
        thread.join(20)
        session.remove()
    assert sorted(seen) == [("shop", 7), ("shop", 8)]


def test_the_command_line_is_part_of_flasks(app: Flask) -> None:
    bus = init_app(app, "shop")
    database.upgrade(bus.engine)
    result = app.test_cli_runner().invoke(args=["eventbus", "db", "check"])
    assert result.exit_code == 0, result.output
    assert app.test_cli_runner().invoke(args=["eventbus", "nonsense"]).exit_code == 2
