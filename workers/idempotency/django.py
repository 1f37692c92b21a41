"""The transactional inbox on Django's own connection.

In a Django project a handler writes through the ORM, so the inbox row must go through the same
connection: the effect and the note that it has happened are then one ``transaction.atomic()``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from eventbus.directives import Skip
from eventbus.errors import IdempotencyStoreUnavailable, TransactionRefused

from .inbox import InboxBusy, InboxMismatch
from .names import bounded, handler_name
from .port import Key

_INSERTS = {
    "postgresql": "INSERT INTO eventbus_inbox {columns} VALUES {marks} ON CONFLICT DO NOTHING",
    "sqlite": "INSERT OR IGNORE INTO eventbus_inbox {columns} VALUES {marks}",
    "mysql": "INSERT IGNORE INTO eventbus_inbox {columns} VALUES {marks}",
}
_COLUMNS = "(handler, event_id, fingerprint, processed_at_ms)"
_FIND = "SELECT fingerprint FROM eventbus_inbox WHERE handler = %s AND event_id = %s"


class DjangoInbox:
    """Does what `Inbox` does, for the Django project's database `alias`.

    Django itself refuses ``commit()`` and ``rollback()`` inside the block.
    """

    def __init__(self, alias: str, service: str) -> None:
        self._alias = alias
        self._service = service

    @contextlib.contextmanager
    def transaction(self, key: Key) -> Iterator[Any]:
        """Django's connection inside ``transaction.atomic()``, or None where it was handled before.

        At a `Skip` only what the handler wrote is rolled back, and the event is remembered.

        Raises
        ------
        InboxBusy
            Another worker is running the event. It is not done: try again later.
        InboxMismatch
            The id has been handled with other data.
        IdempotencyStoreUnavailable
            The database could not be asked.
        TransactionRefused
            The handler ended or spoilt the transaction; everything is rolled back.
        """
        from django.db import connections, transaction

        connection = connections[self._alias]
        try:
            with contextlib.ExitStack() as stack:
                with self._unavailable():
                    stack.enter_context(transaction.atomic(using=self._alias))
                    first = self._insert(connection, key)
                    # Its release shows whether the transaction is still there, and sound.
                    savepoint = transaction.savepoint(using=self._alias) if first else None
                if not first:
                    yield None
                    return
                yield connection
                self._check_sound(connection, savepoint)
        except Skip:
            with self._unavailable(), transaction.atomic(using=self._alias):
                self._insert(connection, key)
            raise

    @contextlib.contextmanager
    def _unavailable(self) -> Iterator[None]:
        from django.db import InterfaceError, OperationalError

        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise IdempotencyStoreUnavailable(
                f"the Django database {self._alias!r} cannot be asked: {str(error).strip()[:300]}"
            ) from error

    def _check_sound(self, connection: Any, savepoint: Any) -> None:
        """Refuse a commit that would keep the inbox row and not the effect.

        A handler that caught a database error has lost all it wrote: PostgreSQL answers the COMMIT
        that follows with a silent ROLLBACK, and Django one after ``set_rollback(True)``.
        """
        from django.db import DatabaseError, transaction

        spoilt = connection.needs_rollback
        if not spoilt:
            try:
                transaction.savepoint_commit(savepoint, using=self._alias)
            except DatabaseError:
                spoilt = True
        if spoilt:
            raise TransactionRefused(
                "the transaction was ended inside the handler, by itself or by a database error "
                "that the handler caught; put a part that may fail into 'with "
                "transaction.atomic():'. Everything was rolled back"
            )

    def _insert(self, connection: Any, key: Key) -> bool:
        """Insert the row; whether this is the first time."""
        from eventbus.outbox.row import now_ms

        handler = bounded(handler_name(self._service, key.handler), 200)
        event_id = bounded(key.event_id, 300)
        fingerprint = bounded(key.fingerprint, 32)
        insert = _INSERTS[connection.vendor].format(columns=_COLUMNS, marks="(%s, %s, %s, %s)")
        with connection.cursor() as cursor:
            cursor.execute(insert, (handler, event_id, fingerprint, now_ms()))
            if cursor.rowcount == 1:
                return True
            cursor.execute(_FIND, (handler, event_id))
            found = cursor.fetchone()
        if found is None:
            # Purged, or not visible in this transaction: the next delivery will tell.
            raise InboxBusy(f"event {key.event_id!r} was not first, and is not there yet")
        if found[0] != fingerprint:
            raise InboxMismatch(
                f"{key.handler!r} has handled an event with the id {key.event_id!r} and other data"
            )
        return False
