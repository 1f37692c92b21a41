"""The gate at deploy: the locked versions go to the registry, in order.

What is registered already stays as it is, so that two deploys of one release, and a deploy that was
killed, do no harm.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eventbus.contracts.fingerprints import fingerprint
from eventbus.contracts.gates.changes import change_between
from eventbus.contracts.gates.readers import broken_now
from eventbus.contracts.lock_files import LockedVersion, LockFile
from eventbus.contracts.registry.port import RegisteredSchema, Registry
from eventbus.errors import IncompatibleContract, InvalidSchema, UnknownSchema

_BREAKS_READERS = (
    "readers that are running could not read it: take the change back, or change these readers "
    "first and deploy them; --break-readers registers it all the same where the mode allows it"
)


class Outcome(enum.Enum):
    """What became of one version."""

    REGISTERED = "registered"
    KNOWN = "known"
    REFUSED = "refused"
    #: The registry has another schema under its number.
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Registration:
    """One locked version and the registry.

    Parameters
    ----------
    id:
        The registry's number of the schema, where it has it.
    why:
        Of what was refused or has diverged.
    change:
        What was done to the version before it.
    readers:
        Who could not read it, and why.
    """

    subject: str
    version: int
    outcome: Outcome
    id: int | None = None
    why: str = ""
    change: str = ""
    readers: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether the registry has it now."""
        return self.outcome in (Outcome.REGISTERED, Outcome.KNOWN)


def register_contracts(
    registry: Registry, locks: Sequence[LockFile], *, break_readers: bool = False
) -> Iterator[Registration]:
    """Register every version of `locks` that the registry does not have.

    A subject ends with the first version that is refused; the others go on.

    Parameters
    ----------
    break_readers:
        Also register what the subject's mode allows and a known reader cannot read.

    Raises
    ------
    RegistryUnavailable
        It does not answer.
    """
    for lock in locks:
        known = {one.version: one for one in registered_versions(registry, lock.subject)}
        if max(known, default=0) <= lock.newest.version:
            _keep_mode(registry, lock)
        for version in lock.versions:
            found = _registration(registry, lock, version, known, break_readers)
            yield found
            if not found.done:
                break


def registered_versions(registry: Registry, subject: str) -> list[RegisteredSchema]:
    """The versions of `subject`; none where the registry does not know it."""
    try:
        return registry.versions(subject)
    except UnknownSchema:
        return []


def _keep_mode(registry: Registry, lock: LockFile) -> None:
    """Let the registry compare as the lock file says, which was reviewed."""
    if registry.mode(lock.subject) is not lock.compatibility:
        registry.set_mode(lock.compatibility, lock.subject)


def _registration(
    registry: Registry,
    lock: LockFile,
    version: LockedVersion,
    known: dict[int, RegisteredSchema],
    break_readers: bool,
) -> Registration:
    subject, number = lock.subject, version.version
    registered = known.get(number)
    if registered is not None and is_same(registered, version):
        return Registration(subject, number, Outcome.KNOWN, registered.id)
    if max(known, default=0) >= number:
        return Registration(subject, number, Outcome.DIVERGED, why=diverged(subject, number))
    before = lock.versions[number - 2].schema if number > 1 else None
    broken = broken_now(registry.readers(subject), version.schema, before)
    change = change_between(before, version.schema) if before else ""
    if broken and not break_readers:
        return Registration(subject, number, Outcome.REFUSED, None, _BREAKS_READERS, change, broken)
    try:
        made = registry.register(subject, version.schema)
    except (IncompatibleContract, InvalidSchema) as error:
        return Registration(subject, number, Outcome.REFUSED, None, str(error), change, broken)
    if made.version != number:
        return Registration(subject, number, Outcome.DIVERGED, made.id, diverged(subject, number))
    return Registration(subject, number, Outcome.REGISTERED, made.id)


def is_same(registered: RegisteredSchema, version: LockedVersion) -> bool:
    """Whether the registry has this version as it is locked."""
    if registered.schema == version.schema:
        return True
    try:
        return fingerprint(registered.schema) == version.fingerprint
    except InvalidSchema:
        return False


def diverged(subject: str, number: int) -> str:
    """That the lock file and the registry mean different contracts by one version."""
    return (
        f"the registry does not have under version {number} of {subject} what is locked as that, "
        f"and readers would take the one for the other; take the versions that 'eventbus schema "
        f"show {subject} --registry' shows into the lock file, and run 'eventbus schema lock'"
    )
