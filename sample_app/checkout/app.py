"""Checkout takes orders over HTTP, and waits for none of the other services.

An order and the event that tells of it are one transaction: either both exist or neither does. The
dispatcher, another process, carries the event to the broker; while the broker is away the event
waits in this database, and customers notice nothing.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from flask import Flask, abort, request, url_for
from marshmallow import Schema, ValidationError, fields, validate
from sqlalchemy.orm import sessionmaker
from werkzeug.exceptions import HTTPException

from eventbus import EventBus

from .events import OrderPlaced
from .models import Order

PRICES_CENTS = {"tea": 450, "teapot": 2900, "cup": 1200}

DATABASE_URL = os.environ.get("CHECKOUT_DATABASE_URL", "sqlite:///checkout.db")
# Each service has a database of its own; the broker is all that they share.
BROKER_URL = os.environ.get("EVENTBUS_BROKER_URL", "sqlite:///broker.db")

# Each service has its own lock files in its own repository, and copies of those that it reads; here
# they are in one folder.
CONTRACTS = Path(__file__).parents[1] / "contracts"

bus = EventBus("checkout", database_url=DATABASE_URL, broker_url=BROKER_URL, contracts=CONTRACTS)
Session = sessionmaker(sa.create_engine(DATABASE_URL), expire_on_commit=False)

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 512  # bytes; an order takes a fifth of it


class OrderRequest(Schema):
    """The body of ``POST /orders``."""

    customer_id = fields.UUID(required=True)
    product_id = fields.String(required=True, validate=validate.OneOf(PRICES_CENTS))


@app.post("/orders")
def place_order() -> Any:
    """Save the order and tell of it, in one transaction."""
    wanted = OrderRequest().load(request.get_json())
    order = Order(
        id=uuid4(),
        customer_id=wanted["customer_id"],
        product_id=wanted["product_id"],
        amount_cents=PRICES_CENTS[wanted["product_id"]],
        placed_at=datetime.now(timezone.utc),
    )
    placed = OrderPlaced(
        order_id=order.id,
        customer_id=order.customer_id,
        product_id=order.product_id,
        placed_at=order.placed_at,
    )
    with Session.begin() as session:
        session.add(order)
        bus.publish(placed, session=session, key=order.id)
    return _shown(order), 201, {"Location": url_for("show_order", order_id=order.id)}


@app.get("/orders/<uuid:order_id>")
def show_order(order_id: UUID) -> Any:
    """The source of truth for whoever got a thin event."""
    with Session() as session:
        order = session.get(Order, order_id)
    return _shown(order) if order else abort(404, f"there is no order {order_id}")


@app.get("/healthz")
def health() -> Any:
    """Whether orders can be taken: that needs the database, and neither broker nor services."""
    with Session() as session:
        session.execute(sa.text("SELECT 1"))
    return {"status": "ok"}


@app.errorhandler(ValidationError)
def _invalid(error: ValidationError) -> Any:
    return {"error": "the order is not valid", "fields": error.messages}, 400


@app.errorhandler(HTTPException)
def _refused(error: HTTPException) -> Any:
    return {"error": error.description}, error.code


@app.errorhandler(sa.exc.SQLAlchemyError)
def _unavailable(error: sa.exc.SQLAlchemyError) -> Any:
    app.logger.error("database: %s", error)
    return {"error": "the database does not answer"}, 503


def _shown(order: Order) -> dict[str, Any]:
    return {
        "id": str(order.id),
        "customer_id": str(order.customer_id),
        "product_id": order.product_id,
        "amount_cents": order.amount_cents,
    }
