"""What a registry of ours refuses, each with a class of its own: over HTTP it has its own code."""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.contracts.compatibility import Difference
from eventbus.contracts.registry.port import Reader
from eventbus.errors import ConfigurationError, EventBusError, IncompatibleContract, UnknownSchema


class UnknownSubject(UnknownSchema):
    """No version of this subject was ever registered, or all were deleted."""


class UnknownVersion(UnknownSchema):
    """The subject does not have this version."""


class NotInSubject(UnknownSchema):
    """No version of the subject is this schema."""


class UnknownId(UnknownSchema):
    """No schema has this id."""


class SubjectDeleted(UnknownSchema):
    """The subject was deleted before; what remains has to be deleted permanently."""


class VersionDeleted(UnknownSchema):
    """The version was deleted before; what remains has to be deleted permanently."""


class NoCompatibilityOfItsOwn(UnknownSchema):
    """The subject has no compatibility mode of its own; the global one counts."""


class NoAccessOfItsOwn(UnknownSchema):
    """Nobody has set for this subject itself whether it takes changes."""


class SubjectNotDeletedYet(UnknownSchema):
    """A subject has to be deleted before it can be deleted permanently."""


class VersionNotDeletedYet(UnknownSchema):
    """A version has to be deleted before it can be deleted permanently."""


class StillReferenced(EventBusError):
    """Another schema refers to it."""


class ReadOnly(EventBusError):
    """The registry, or the subject, takes no changes."""


class InvalidSubject(ConfigurationError):
    """A text that cannot be a subject's name."""


class Malformed(EventBusError):
    """A request or an answer that cannot be read."""


class RefusedVersion(IncompatibleContract):
    """A new version that the subject's mode does not allow.

    Parameters
    ----------
    message:
        What differs, and which readers would break.
    differences:
        Each of them.
    broken:
        The readers that could not read it.
    """

    def __init__(
        self,
        message: str,
        differences: Sequence[Difference] = (),
        broken: Sequence[Reader] = (),
    ) -> None:
        super().__init__(message)
        self.differences = tuple(differences)
        self.broken = tuple(broken)
