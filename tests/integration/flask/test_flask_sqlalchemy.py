"""An application with Flask-SQLAlchemy, as docs/flask.md shows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from eventbus import Context, Event, EventBus, database, tables
from eventbus.errors import ConfigurationError
from eventbus.flask import init_app
from eventbus.workers.dispatcher import Dispatcher
from eventbus.workers.worker import Worker
from tests.waiting import wait_until


class OrderPlaced(Event, name="flask.order.placed"):
    order_id: int


class Shop:
    """The application: orders are placed by a view, receipts are written by a handler."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.db = db = SQLAlchemy(app)
        self.bus: EventBus = init_app(app, "shop")
        self.sessions: list[Any] = []

        class Order(db.Model):  # type: ignore[name-defined, misc]
            id = sa.Column(sa.Integer, primary_key=True)

        class Receipt(db.Model):  # type: ignore[name-defined, misc]
            order_id = sa.Column(sa.Integer, primary_key=True)

        self.receipt = Receipt

        @app.post("/orders")
        def place_order() -> str:
            order = Order()
            db.session.add(order)
            db.session.flush()
            self.bus.publish(OrderPlaced(order_id=order.id), session=db.session, key=order.id)
            if "fail" in app.config:
                raise ZeroDivisionError
            db.session.commit()
            return str(order.id)

        @self.bus.source("order")
        def order(id: int) -> Any:
            return db.session.get(Order, id)

        @self.bus.handler("flask.order.placed", queue="receipts")
        def send_receipt(event: OrderPlaced, context: Context) -> None:
            self.sessions.append(db.session())
            db.session.add(Receipt(order_id=context.fetch(event).id))
            db.session.commit()

        with app.app_context():
            db.create_all()
        database.upgrade(self.bus.engine)

    def rows(self) -> int:
        with database.reading(self.bus.engine) as connection:
            return int(
                connection.scalar(sa.select(sa.func.count()).select_from(tables.outbox)) or 0
            )

    def receipts(self) -> list[int]:
        with self.app.app_context():
            return list(self.db.session.scalars(sa.select(self.receipt.order_id)))


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    app = Flask("shop")
    app.config["SQLALCHEMY_DATABASE_URI"] = request.getfixturevalue(f"{request.param}_url")
    shop = Shop(app)
    yield shop
    shop.bus.engine.dispose()
    with app.app_context():
        shop.db.engine.dispose()


def test_an_event_shares_the_fate_of_the_request(shop: Shop) -> None:
    shop.app.config["fail"] = True
    assert shop.app.test_client().post("/orders").status_code == 500
    assert shop.rows() == 0
    del shop.app.config["fail"]
    assert shop.app.test_client().post("/orders").status_code == 200
    assert shop.rows() == 1


def test_a_handler_has_the_session_of_its_own_application_context(shop: Shop) -> None:
    for _ in range(3):
        shop.app.test_client().post("/orders")
    worker = Worker(shop.bus)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        wait_until(
            lambda: Dispatcher(shop.bus).run_once() or len(shop.receipts()) == 3,
            30,
            lambda: f"three receipts, not {shop.receipts()}",
        )
        wait_until(lambda: len(shop.receipts()) == 3, 30, lambda: f"{shop.receipts()}")
    finally:
        worker.stop()
        thread.join(20)
    assert len(set(map(id, shop.sessions))) == 3, "a session outlived its handler"


def test_a_relative_file_is_the_one_that_flask_sqlalchemy_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Flask("shop", instance_path=str(tmp_path / "instance"))
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.db"
    shop = Shop(app)
    app.test_client().post("/orders")
    assert shop.rows() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["instance"]
    with app.app_context():
        shop.db.engine.dispose()
    shop.bus.engine.dispose()


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    app = Flask("shop")
    app.config["EVENTBUS_BROKERURL"] = "amqp://localhost"
    with pytest.raises(ConfigurationError, match="no setting 'brokerurl'"):
        init_app(app, "shop")


def test_what_only_the_environment_says_is_not_taken_for_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVENTBUS_WORKER_CONCURRENCY", "4")
    app = Flask("shop")
    app.config["EVENTBUS_WORKER_CONCURRENCY"] = "4"
    assert init_app(app, "shop").settings.exchange == "events"
