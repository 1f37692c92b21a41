"""Writes outbox rows through Django's own connection, inside ``transaction.atomic()``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eventbus.django import project
from eventbus.errors import DatabaseNotMigrated, EventBusError, NotInTransaction
from eventbus.outbox.row import OUTBOX_CHANNEL, OutboxRow


def writer_in_atomic_block(database_url: str) -> DjangoWriter | None:
    """The writer for the project's database at `database_url`; None outside a Django project.

    Raises
    ------
    EventBusError
        The project has no such database.
    """
    if not project.configured():
        return None
    alias = project.alias_of(database_url)
    if alias is None:
        from sqlalchemy.engine import make_url

        raise EventBusError(
            f"none of the Django DATABASES is {make_url(database_url).render_as_string()}, whose "
            f"outbox this bus dispatches; set EVENTBUS['database_url'] to one of them, or leave it "
            f"out to use the default one"
        )
    return DjangoWriter(alias)


class DjangoWriter:
    """The `OutboxWriter` of one of the project's databases."""

    def __init__(self, alias: str) -> None:
        self._alias = alias

    def write(self, rows: Sequence[OutboxRow]) -> None:
        """See `OutboxWriter.write`."""
        from django.db import connections, transaction

        connection = connections[self._alias]
        if not connection.in_atomic_block:
            raise NotInTransaction(
                f"publish was called outside a transaction of the Django database "
                f"{self._alias!r}; use 'with transaction.atomic(using={self._alias!r}):', or "
                f"ATOMIC_REQUESTS"
            )
        _insert(connection, rows)
        transaction.on_commit(self._wake, using=self._alias)

    def _wake(self) -> None:
        from eventbus import wakeup

        wakeup.notify(project.database_url(self._alias), OUTBOX_CHANNEL)


def _insert(connection: Any, rows: Sequence[OutboxRow]) -> None:
    from django.db import DatabaseError

    columns = list(rows[0].columns())
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    marks = ", ".join(["%s"] * len(columns))
    values = [tuple(row.columns().values()) for row in rows]
    try:
        with connection.cursor() as cursor:
            # Names of our own columns only.
            statement = f"INSERT INTO eventbus_outbox ({names}) VALUES ({marks})"  # noqa: S608
            cursor.executemany(statement, values)
    except DatabaseError as error:
        from eventbus.database import is_missing_table

        if is_missing_table(error):
            raise DatabaseNotMigrated(
                "the table eventbus_outbox is missing; run 'manage.py eventbus db upgrade'"
            ) from error
        raise
