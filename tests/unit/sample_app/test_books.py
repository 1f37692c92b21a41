"""The demo's verdict sees every kind of mistake; it would prove nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from eventbus.sample_app.billing.models import Charge
from eventbus.sample_app.checkout.models import Order
from eventbus.sample_app.demo.books import Books
from eventbus.sample_app.email.models import Mail
from eventbus.sample_app.inventory.models import Reservation, Stock
from eventbus.sample_app.prepare import (
    TABLES,
    create_tables,
    database_variable,
    shop_environment,
)

ORDERS = 3
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Databases of a day on which all went well."""
    environment = shop_environment({}, tmp_path)
    for service in TABLES:
        create_tables(service, environment[database_variable(service)])
    for order_id in (uuid4() for _ in range(ORDERS)):
        for service, row in day(order_id).items():
            add(environment, service, row)
    change(
        environment, "inventory", sa.update(Stock).where(Stock.product_id == "tea"), available=997
    )
    return environment


def day(order_id: UUID) -> dict[str, Any]:
    """What each service has of an order."""
    customer = {"customer_id": uuid4()}
    tea = {"product_id": "tea"}
    return {
        "checkout": Order(id=order_id, **customer, **tea, amount_cents=450, placed_at=NOW),
        "billing": charge(order_id),
        "inventory": Reservation(order_id=order_id, **tea),
        "email": Mail(order_id=order_id, **customer, subject="paid"),
    }


def charge(order_id: UUID, amount_cents: int = 450) -> Charge:
    return Charge(order_id=order_id, amount_cents=amount_cents, charged_at=NOW, worker_pid=1)


def add(environment: dict[str, str], service: str, row: Any) -> None:
    with Session(sa.create_engine(environment[database_variable(service)])) as session:
        session.add(row)
        session.commit()


def change(environment: dict[str, str], service: str, statement: Any, **values: Any) -> None:
    with sa.create_engine(environment[database_variable(service)]).begin() as connection:
        connection.execute(statement.values(**values) if values else statement)


def orders_of(environment: dict[str, str]) -> list[UUID]:
    with Session(sa.create_engine(environment["CHECKOUT_DATABASE_URL"])) as session:
        return list(session.scalars(sa.select(Order.id)))


@pytest.fixture
def wrong(environment: dict[str, str]) -> Iterator[Callable[[], set[str]]]:
    """What the audit finds wrong."""
    books = Books(environment)
    confirmed = orders_of(environment)
    yield lambda: {f.text for f in books.audit(ORDERS, confirmed) if not f.good}
    books.close()


def test_a_day_without_mistakes_is_good(wrong: Callable[[], set[str]]) -> None:
    assert wrong() == set()


@pytest.mark.parametrize(
    ("service", "table", "found"),
    [
        (
            "checkout",
            Order,
            {
                "orders placed",
                "orders confirmed to a customer but not kept",
                "orders charged",
                "orders charged a wrong amount",
                "orders with goods reserved",
                "orders with an e-mail sent",
            },
        ),
        ("billing", Charge, {"orders charged"}),
        ("inventory", Reservation, {"orders with goods reserved"}),
        ("email", Mail, {"orders with an e-mail sent"}),
    ],
)
def test_what_is_lost_is_found(
    environment: dict[str, str],
    wrong: Callable[[], set[str]],
    service: str,
    table: Any,
    found: set[str],
) -> None:
    key = table.id if table is Order else table.order_id
    change(environment, service, sa.delete(table).where(key == orders_of(environment)[0]))
    assert wrong() == found


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("billing", "orders charged more than once"),
        ("inventory", "orders reserved more than once"),
        ("email", "e-mails sent more than once"),
    ],
)
def test_what_is_done_twice_is_found(
    environment: dict[str, str], wrong: Callable[[], set[str]], service: str, found: str
) -> None:
    add(environment, service, day(orders_of(environment)[0])[service])
    assert wrong() == {found}


def test_a_wrong_amount_is_found(
    environment: dict[str, str], wrong: Callable[[], set[str]]
) -> None:
    change(environment, "billing", sa.update(Charge), amount_cents=1)
    assert wrong() == {"orders charged a wrong amount"}


def test_a_charge_for_no_order_is_found(
    environment: dict[str, str], wrong: Callable[[], set[str]]
) -> None:
    add(environment, "billing", charge(uuid4()))
    assert wrong() == {"orders charged a wrong amount"}


def test_a_piece_that_was_taken_twice_is_found(
    environment: dict[str, str], wrong: Callable[[], set[str]]
) -> None:
    change(
        environment, "inventory", sa.update(Stock).where(Stock.product_id == "cup"), available=999
    )
    assert wrong() == {"pieces taken from the shelves"}
