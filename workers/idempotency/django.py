"""The transactional inbox on Django's own connection.

In a Django project a handler writes through the ORM, so the inbox row must go through the same
connection: the effect and the note that it has happened are then one ``transaction.atomic()``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .inbox import InboxMismatch
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

        Raises
        ------
        InboxMismatch
            The id has been handled with other data.
        """
        from django.db import connections, transaction

        with transaction.atomic(using=self._alias):
            connection = connections[self._alias]
            yield connection if self._insert(connection, key) else None

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
        if found is not None and found[0] != fingerprint:
            raise InboxMismatch(
                f"{key.handler!r} has handled an event with the id {key.event_id!r} and other data"
            )
        return False
