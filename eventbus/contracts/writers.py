"""The schemas that messages were written with, found by the id in their frame.

Memory, the event's lock file, then the registry of the settings, which keeps what it was told in
the application's own database. A registry that does not answer is left alone for a while, so that
messages wait for it and the worker does not; ids that it does not know are remembered too.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from eventbus.contracts.lock_files import LockFile, read_lock
from eventbus.contracts.schema import Schema
from eventbus.errors import (
    DatabaseNotMigrated,
    DatabaseUnavailable,
    InvalidLockFile,
    RegistryUnavailable,
    UndecodableMessage,
    UnknownSchema,
)

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.registry.port import RegisteredSchema, Registry

log = logging.getLogger("eventbus.contracts")

#: For so long a worker waits for a registry before it goes on with other messages.
PATIENCE_SECONDS = 2.0
#: Questions that are asked at the same time.
QUESTIONS_MAX = 4
#: For so long a registry that did not answer is not asked, and an id that it did not know.
SILENCE_SECONDS = 15.0
#: Ids that are remembered as unknown: messages of a stranger may name any number of them.
UNKNOWN_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Writer:
    """What a message was written with.

    Parameters
    ----------
    version:
        Of the event's own contract; None where the schema is registered under another subject.
    contract:
        What people call it.
    """

    schema: Schema
    version: int | None
    contract: str


class WriterSchemas:
    """Finds the schema of a message by its id."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._writers: dict[tuple[str, int], Writer] = {}
        self._locks: dict[str, LockFile | None] = {}
        self._unknown: dict[int, float] = {}
        self._silent_until = 0.0

    def by_id(self, schema_id: int, event: str) -> Writer:
        """The schema `schema_id`, which an `event` was written with.

        Raises
        ------
        UndecodableMessage
            Nobody knows such an id.
        RegistryUnavailable
            The one who might know does not answer.
        """
        found = self._writers.get((event, schema_id))
        if found is None:
            found = self._locked(schema_id, event) or self._registered(schema_id, event)
            self._writers[event, schema_id] = found
        return found

    def _locked(self, schema_id: int, event: str) -> Writer | None:
        lock = self._lock(event)
        for version in lock.versions if lock else ():
            if version.id == schema_id:
                return Writer(version.schema, version.version, named(event, version.version))
        return None

    def _lock(self, event: str) -> LockFile | None:
        if event not in self._locks:
            try:
                self._locks[event] = read_lock(self._bus.settings.contracts, event)
            except InvalidLockFile as error:
                log.error("a lock file is not used: %s", error)
                self._locks[event] = None
        return self._locks[event]

    def _registered(self, schema_id: int, event: str) -> Writer:
        now = time.monotonic()
        if now < self._unknown.get(schema_id, 0.0):
            raise _nobody_knows(schema_id)
        if now < self._silent_until:
            raise RegistryUnavailable(
                f"schema {schema_id} is not known here, and the registry did not answer a moment "
                f"ago"
            )
        try:
            found = self._questions.by_id(schema_id)
        except (UnknownSchema, DatabaseNotMigrated):
            self._remember_unknown(schema_id)
            raise _nobody_knows(schema_id) from None
        except (RegistryUnavailable, DatabaseUnavailable) as error:
            if not isinstance(error, NotYetAnswered):
                self._silent_until = time.monotonic() + SILENCE_SECONDS
            raise RegistryUnavailable(
                f"schema {schema_id} is not known here, and the registry does not answer: {error}"
            ) from None
        return _writer(found, event)

    @cached_property
    def _questions(self) -> Questions:
        from eventbus.contracts.registry import open_registry

        return Questions(open_registry(self._bus))

    def _remember_unknown(self, schema_id: int) -> None:
        if len(self._unknown) >= UNKNOWN_MAX:
            self._unknown.clear()
        self._unknown[schema_id] = time.monotonic() + SILENCE_SECONDS


class NotYetAnswered(RegistryUnavailable):
    """The registry takes longer than a worker can wait."""


class Questions:
    """Asks a registry on threads of their own: a slow one holds up messages, and no worker.

    The first question is waited for a moment; while one is overdue, the others are not.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._open: dict[int, Future[RegisteredSchema]] = {}

    def by_id(self, schema_id: int) -> RegisteredSchema:
        """What the registry answers; raises what it raises, or NotYetAnswered."""
        question = self._open.pop(schema_id, None)
        overdue = {id: one for id, one in self._open.items() if not one.done()}
        self._open = overdue
        if question is None:
            if len(overdue) >= QUESTIONS_MAX:
                raise NotYetAnswered("it has not yet answered other questions")
            question = Future()
            threading.Thread(target=self._ask, args=(schema_id, question), daemon=True).start()
            wait([question], 0.0 if overdue else PATIENCE_SECONDS)
        if not question.done():
            self._open[schema_id] = question
            raise NotYetAnswered("it has not answered yet")
        return question.result()

    def _ask(self, schema_id: int, question: Future[RegisteredSchema]) -> None:
        try:
            question.set_result(self._registry.by_id(schema_id))
        except BaseException as error:
            question.set_exception(error)


def named(subject: str, version: int | None) -> str:
    """What people call a version of a contract."""
    return subject if version is None else f"{subject} version {version}"


def _writer(found: RegisteredSchema, event: str) -> Writer:
    own = found.subject == event
    return Writer(found.schema, found.version if own else None, named(found.subject, found.version))


def _nobody_knows(schema_id: int) -> UndecodableMessage:
    return UndecodableMessage(
        f"the message was written with schema {schema_id}, which neither a lock file nor the "
        f"registry knows; set registry_url to the producer's registry, then replay it"
    )
