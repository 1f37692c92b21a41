"""What a registry elsewhere has answered, kept in the application's database."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from eventbus.contracts.registry.statements import upsert
from eventbus.database import now_ms, reading, writing
from eventbus.errors import DatabaseNotMigrated, DatabaseUnavailable
from eventbus.tables import contract_answer

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

log = logging.getLogger("eventbus.registry")

#: What is remembered of what was kept: the digests of so many answers.
_REMEMBERED_MAX = 10_000


class KeptAnswers:
    """The latest answer to each request, for when the registry is away.

    A database that is away costs the answer, and nothing else: no error leaves this class.

    Parameters
    ----------
    address:
        The registry's, without a password.
    """

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._registry = _digest(address)
        self._written: dict[str, str] = {}
        self._lock = threading.Lock()

    def keep(self, request: str, answer: Any) -> None:
        """Remember the answer to `request`; one that is kept already costs nothing."""
        text = json.dumps(answer)
        if self._is_kept(request, text):
            return
        row: dict[str, Any] = {
            "registry": self._registry,
            "request": _digest(request),
            "answer": text,
        }
        try:
            with writing(self._engine) as connection:
                row["answered_at_ms"] = connection.execute(sa.select(now_ms())).scalar_one()
                connection.execute(upsert(connection, contract_answer), row)
        except (DatabaseUnavailable, DatabaseNotMigrated) as error:
            log.warning("an answer of the schema registry cannot be kept: %s", error)
            return
        with self._lock:
            if len(self._written) >= _REMEMBERED_MAX:
                self._written.clear()
            self._written[request] = _digest(text)

    def _is_kept(self, request: str, text: str) -> bool:
        with self._lock:
            return self._written.get(request) == _digest(text)

    def answer(self, request: str) -> Any | None:
        """What was answered to `request`, or None where nothing is kept."""
        row = sa.select(contract_answer.c.answer).where(
            contract_answer.c.registry == self._registry,
            contract_answer.c.request == _digest(request),
        )
        try:
            with reading(self._engine) as connection:
                text = connection.scalar(row)
        except (DatabaseUnavailable, DatabaseNotMigrated):
            return None
        return None if text is None else json.loads(text)

    def forget(self, request: str) -> None:
        """The registry does not have any longer what was asked for."""
        with self._lock:
            self._written.pop(request, None)
        try:
            with writing(self._engine) as connection:
                connection.execute(
                    contract_answer.delete().where(
                        contract_answer.c.registry == self._registry,
                        contract_answer.c.request == _digest(request),
                    )
                )
        except (DatabaseUnavailable, DatabaseNotMigrated):
            return


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
