"""What a schema registry does, wherever it keeps its schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from eventbus.contracts.compatibility import Compatibility, Mode
from eventbus.contracts.schema import Schema


@dataclass(frozen=True, slots=True)
class Reference:
    """That a schema refers by `name` to a version of another subject."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """One version of a subject.

    Parameters
    ----------
    subject:
        The event's name, such as ``order.paid``; a new major is a subject of its own.
    version:
        1 for the first.
    id:
        The registry's number of the schema, the same for the same schema in every subject.
    schema:
        Its text, with the texts that it refers to.
    references:
        As they were registered.
    """

    subject: str
    version: int
    id: int
    schema: Schema
    references: tuple[Reference, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Reader:
    """What one handler reads of a subject, so that a refused change can name it.

    Parameters
    ----------
    service, release, queue, handler:
        Who: service ``shop``, its release ``1.4``, queue ``shop.billing``, handler ``charge``.
    schema:
        The reader's contract.
    seen_at_ms:
        Epoch milliseconds at which a worker last said so.
    """

    subject: str
    service: str
    release: str
    queue: str
    handler: str
    schema: Schema
    seen_at_ms: int


class Registry(Protocol):
    """A schema registry.

    Everything raises RegistryUnavailable where it does not answer, and UnknownSchema for what it
    does not have.
    """

    def subjects(self) -> list[str]:
        """The subjects that have a version, sorted."""

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """Its versions, the oldest first, without the deleted ones."""

    def by_id(self, id: int) -> RegisteredSchema:
        """The schema with this id, under one of its subjects."""

    def look_up(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> RegisteredSchema:
        """The version of `subject` that is this schema, however it is written."""

    def register(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> RegisteredSchema:
        """Make it the next version; a schema that the subject has keeps its version.

        Raises
        ------
        IncompatibleContract
            The subject's mode does not allow it; the text says what and who would break.
        InvalidSchema
            It is no schema.
        """

    def check(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> Compatibility:
        """Whether `register` would take it."""

    def mode(self, subject: str | None = None) -> Mode:
        """The subject's compatibility mode, or the global one."""

    def set_mode(self, mode: Mode, subject: str | None = None) -> None:
        """Set it, for one subject or globally."""

    def readers(self, subject: str) -> list[Reader]:
        """Who reads it; empty where the registry does not know."""

    def add_readers(self, readers: Sequence[Reader]) -> None:
        """Tell what is read; the same handler of the same release replaces what it told before."""
