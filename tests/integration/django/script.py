"""What a view would do; prints the outcome of each case as JSON. Run as a module."""

# ruff: noqa: E402 - Django wants to be set up before its models are imported.

from __future__ import annotations

import json
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.django.project"

import django

django.setup()

from django.db import connection, transaction

from eventbus import EventBusError, NotInTransaction
from eventbus.workers.idempotency import make_inbox
from eventbus.workers.idempotency.port import Key
from tests.integration.django.shop.handlers import OrderPlaced, bus
from tests.integration.django.shop.models import Order


def rows() -> int:
    """Rows in the outbox."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM eventbus_outbox")
        return int(cursor.fetchone()[0])


def place(name: str) -> None:
    """Save an order and publish its event."""
    order = Order.objects.create(name=name)
    bus.publish(OrderPlaced(order_id=order.pk), key=order.pk)


def rolled_back() -> None:
    """Both the order and the event are undone."""
    try:
        with transaction.atomic():
            place("rolled back")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


def savepoint_rolled_back() -> None:
    """The inner block is undone, the outer one is kept."""
    with transaction.atomic():
        place("outer")
        try:
            with transaction.atomic():
                place("inner")
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass


def error_of(publish: object) -> str:
    """Name and text of what publishing raises."""
    try:
        publish()  # type: ignore[operator]
    except EventBusError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def in_the_inbox_twice() -> list[bool]:
    """Whether the transaction of one event is entered, the first and the second time."""
    inbox = make_inbox(bus)
    entered = []
    for _ in range(2):
        with inbox.transaction(Key("book", "/shop 1", "aa")) as session:
            entered.append(session is not None)
    return entered


def main() -> None:
    """Run the cases one after the other."""
    found: dict[str, object] = {"database_url": bus.settings.database_url}
    rolled_back()
    found["after_rollback"] = rows()
    found["outside"] = error_of(lambda: place("outside"))
    found["after_outside"] = rows()
    assert NotInTransaction.__name__ in str(found["outside"])
    savepoint_rolled_back()
    found["after_savepoint"] = rows()
    found["inbox"] = in_the_inbox_twice()
    with transaction.atomic():
        place("committed")
    found["after_commit"] = rows()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
