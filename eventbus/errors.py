"""Every error that eventbus raises.

All derive from `EventBusError`, so one ``except`` clause holds them. A message says what was
wrong, which value, and what to do. `exit_code` is what the command line ends with when the error
reaches it: 1 failed, 2 usage, 3 a server is unreachable, 4 a check found a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class EventBusError(Exception):
    """Something that eventbus refuses or cannot do."""

    exit_code = 1


class ConfigurationError(EventBusError):
    """A setting has a value that cannot be used."""

    exit_code = 2


class DeclarationError(EventBusError):
    """An event, a handler or a pattern is declared in a way that cannot work."""

    exit_code = 2


class ApplicationNotFound(EventBusError):
    """The application named by ``-A`` cannot be imported or is not an `EventBus`."""

    exit_code = 2


class UnknownName(EventBusError):
    """No event, handler or queue of that name is declared."""

    exit_code = 2

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownName:
        """The error for `name`, with the nearest of the `known` names, or all of them."""
        candidates = sorted(known)
        near = get_close_matches(name, candidates, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif candidates:
            hint = f"declared: {', '.join(candidates)}"
        else:
            hint = "none is declared"
        return cls(f"no {kind} is declared with name {name!r}; {hint}")


class ValidationError(EventBusError):
    """The data of an event does not fit its declaration; nothing was written.

    Parameters
    ----------
    message:
        One sentence for a person.
    errors:
        Field name to the list of what is wrong with it (the shape marshmallow uses).
    """

    exit_code = 2

    def __init__(self, message: str, errors: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.errors = errors or {}


class NotInTransaction(EventBusError):
    """`publish` was called where no transaction would carry the event."""


class UndecodableMessage(EventBusError):
    """A message from the broker cannot be read as an event; it is parked with this reason.

    Parameters
    ----------
    path:
        The field whose bytes cannot be read, from the outside in, where that is known.
    """

    def __init__(self, message: str, path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = tuple(path)


class BrokerUnavailable(EventBusError):
    """The message broker cannot be reached, refuses the login or does not answer in time."""

    exit_code = 3


class TopologyMismatch(EventBusError):
    """A queue or exchange exists on the broker with other arguments than declared."""

    exit_code = 4


class QueueInUse(EventBusError):
    """A queue holds messages or has consumers, so it cannot be deleted or declared anew."""


class DatabaseUnavailable(EventBusError):
    """The database cannot be reached or refuses the statement."""

    exit_code = 3


class DatabaseNotMigrated(EventBusError):
    """The tables of eventbus are missing or of another version."""

    exit_code = 4


class IdempotencyStoreUnavailable(EventBusError):
    """The idempotency store does not answer: never to be read as "already done"."""

    exit_code = 3


class TransactionRefused(EventBusError):
    """A transactional handler tried to end the transaction that eventbus owns."""


class OperationInterrupted(EventBusError):
    """A person ended an operation over many messages; it can be resumed."""


class OperationStopped(EventBusError):
    """An operation ended itself, because too much of what it did failed."""


class NotResumable(EventBusError):
    """The operation that was to be resumed is another kind, is done, or is still running."""

    exit_code = 2


class SoftTimeLimitExceeded(EventBusError):
    """Raised inside a handler that has run for its soft time limit: time to tidy up and end.

    Left alone it is a failed attempt.
    """

    def __init__(self, message: str = "it ran longer than its soft time limit") -> None:
        super().__init__(message)


class TimeLimitExceeded(EventBusError):
    """A handler was ended by its hard time limit, which it cannot catch."""


class MissingDependency(EventBusError):
    """Something needs a package that is not installed; the text names the extra to install."""

    exit_code = 2


class InvalidSchema(EventBusError):
    """A schema is not what its format allows, or exceeds the bounds that keep a check quick."""

    exit_code = 2


class InvalidLockFile(EventBusError):
    """A lock file is no lock file, is damaged, or says something else than its name."""

    exit_code = 2


class IncompatibleContract(EventBusError):
    """A new version of a contract would break a reader, or could not read what was written."""

    exit_code = 4


class UnknownSchema(EventBusError):
    """The registry has no such subject, version or id."""

    exit_code = 2


class RegistryUnavailable(EventBusError):
    """The schema registry cannot be reached, refuses the login or does not answer in time."""

    exit_code = 3
