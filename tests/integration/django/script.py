"""What a view would do; prints the outcome of each case as JSON. Run as a module."""

# ruff: noqa: E402 - Django wants to be set up before its models are imported.

from __future__ import annotations

import contextlib
import json
import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.integration.django.project"

import django

django.setup()

from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from eventbus import EventBus, EventBusError, NotInTransaction, Skip, database, wakeup
from eventbus.django import project
from eventbus.workers.idempotency import make_inbox
from eventbus.workers.idempotency.port import Key
from tests.integration.django.shop.handlers import OrderPlaced, bus
from tests.integration.django.shop.models import Order


def rows(alias: str = "default") -> int:
    """Rows in the outbox."""
    with connections[alias].cursor() as cursor:
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


def spoilt_inbox() -> list[str]:
    """What becomes of a handler that catches a database error, and of one that sets a rollback."""
    inbox = make_inbox(bus)

    def broken_statement() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    def caught() -> None:
        Order.objects.create(name="spoilt")
        with contextlib.suppress(DatabaseError):
            broken_statement()

    def set_rollback() -> None:
        Order.objects.create(name="spoilt")
        transaction.set_rollback(True)

    def commit() -> None:
        Order.objects.create(name="spoilt")
        try:
            connection.commit()
        except DatabaseError:
            raise EventBusError("django refuses it") from None

    def run(event_id: str, handler: object) -> str:
        try:
            with inbox.transaction(Key("spoil", event_id, "aa")) as session:
                if session is None:
                    return "done before"
                handler()  # type: ignore[operator]
        except EventBusError as error:
            return type(error).__name__
        return "committed"

    return [
        run("/shop 2", caught),
        run("/shop 3", set_rollback),
        run("/shop 3", set_rollback),
        run("/shop 4", commit),
        run("/shop 4", lambda: None),
        run("/shop 4", lambda: None),
    ]


def skipped() -> list[object]:
    """A handler that skips, the second time because of a database error; then each once more."""
    inbox = make_inbox(bus)

    def skip() -> None:
        Order.objects.create(name="skipped")
        raise Skip("stale")

    def skip_after_an_error() -> None:
        Order.objects.create(name="skipped")
        try:
            Order.objects.create(pk=Order.objects.first().pk, name="skipped")
        except IntegrityError:
            raise Skip("there already") from None

    entered: list[object] = []
    for event_id, handler in [("/shop 8", skip), ("/shop 9", skip_after_an_error)] * 2:
        try:
            with inbox.transaction(Key("skip", event_id, "aa")) as session:
                if session is None:
                    entered.append("done before")
                    continue
                handler()
        except Skip as skip_:
            entered.append(skip_.reason)
    return [*entered, Order.objects.filter(name="skipped").count()]


def woken() -> list[int]:
    """How often the dispatcher was woken: inside the block, after a rollback, after a commit."""
    calls: list[object] = []
    notify, wakeup.notify = wakeup.notify, lambda *arguments: calls.append(arguments)
    counts = []
    try:
        with transaction.atomic():
            place("woken")
            counts.append(len(calls))
            transaction.set_rollback(True)
        counts.append(len(calls))
        with transaction.atomic():
            place("woken")
        counts.append(len(calls))
    finally:
        wakeup.notify = notify
    return counts


def on_the_other_database() -> list[object]:
    """A bus of the project's second database wants a transaction of that one."""
    archive = EventBus("archive", database_url=project.database_url("archive"))
    database.upgrade(archive.engine)
    event = OrderPlaced(order_id=1)
    with transaction.atomic():
        refused = error_of(lambda: archive.publish(event))
    with transaction.atomic(using="archive"):
        archive.publish(event)
    return [refused, rows("archive")]


def commands() -> list[str]:
    """`call_command` comes back, and raises where the command failed."""
    call_command("eventbus", "db", "check")
    try:
        call_command("eventbus", "worker", "-Q", "nope")
    except CommandError as error:
        return [str(error.returncode), str(error)]
    return []


def table_missing() -> str:
    """The table is renamed inside the transaction, which is then rolled back."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE eventbus_outbox RENAME TO elsewhere")
        found = error_of(lambda: bus.publish(OrderPlaced(order_id=1)))
        transaction.set_rollback(True)
    return found


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
    if "--all" in sys.argv:
        found["spoilt"] = spoilt_inbox()
        found["spoilt_orders"] = Order.objects.filter(name="spoilt").count()
        found["skipped"] = skipped()
        found["woken"] = woken()
        found["other"] = on_the_other_database()
        found["commands"] = commands()
        found["missing"] = table_missing()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
