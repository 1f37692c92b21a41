"""From an error to its HTTP status and its code, as the Confluent Schema Registry numbers them."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from eventbus.contracts.registry import refusals
from eventbus.errors import (
    DatabaseNotMigrated,
    EventBusError,
    IncompatibleContract,
    InvalidSchema,
    MissingDependency,
    RegistryUnavailable,
    UnknownSchema,
)


class InvalidVersion(EventBusError):
    """What stands for a version in the address is none."""


class InvalidCompatibility(EventBusError):
    """A compatibility mode that there is not."""


class InvalidAccess(EventBusError):
    """A mode that there is not, or not here."""


class NotSupported(EventBusError):
    """A feature of the original that this registry does not have: refused rather than dropped."""


class Forbidden(EventBusError):
    """The request comes from a web page of another origin."""


class Unauthorized(EventBusError):
    """The token is missing, or is another one."""


#: The first class that fits counts.
CODES: tuple[tuple[type[EventBusError], int], ...] = (
    (refusals.Malformed, 400),
    (Unauthorized, 40101),
    (Forbidden, 40301),
    (refusals.UnknownSubject, 40401),
    (refusals.UnknownVersion, 40402),
    (refusals.UnknownId, 40403),
    (refusals.NotInSubject, 40403),
    (refusals.SubjectDeleted, 40404),
    (refusals.VersionDeleted, 40406),
    (refusals.SubjectNotDeletedYet, 40405),
    (refusals.VersionNotDeletedYet, 40407),
    (refusals.NoCompatibilityOfItsOwn, 40408),
    (refusals.NoAccessOfItsOwn, 40409),
    (UnknownSchema, 40403),
    (IncompatibleContract, 409),
    (InvalidSchema, 42201),
    (InvalidVersion, 42202),
    (InvalidCompatibility, 42203),
    (InvalidAccess, 42204),
    (refusals.ReadOnly, 42205),
    (NotSupported, 42205),
    (refusals.StillReferenced, 42206),
    (refusals.InvalidSubject, 42208),
    (MissingDependency, 50005),
    (RegistryUnavailable, 50001),
    (DatabaseNotMigrated, 50001),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error looks like over HTTP: the first three digits of the code are the status."""

    code: int
    message: str

    @property
    def status(self) -> HTTPStatus:
        """Of the answer."""
        return HTTPStatus(int(str(self.code)[:3]))


def problem_of(error: EventBusError) -> Problem:
    """How `error` is answered."""
    code = next((code for kind, code in CODES if isinstance(error, kind)), 500)
    return Problem(code, str(error))
