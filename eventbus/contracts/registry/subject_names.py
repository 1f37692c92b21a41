"""What may be the name of a subject."""

from __future__ import annotations

from eventbus.contracts.registry.refusals import InvalidSubject
from eventbus.printable import printable

#: As long as an event's name, which it is.
SUBJECT_MAX_LENGTH = 255

#: The Confluent Schema Registry's own names for "all" and "none".
_RESERVED = ("__GLOBAL", "__EMPTY")
_DEFAULT_CONTEXT = ":.:"


def checked_subject(name: str) -> str:
    """The subject called `name`.

    The Confluent Schema Registry has contexts, ``:.staging:order.paid``. There is one here, the
    default one; ``:.:order.paid`` is another way to write ``order.paid``.

    Raises
    ------
    InvalidSubject
        It is none; the text says why.
    """
    subject = name[len(_DEFAULT_CONTEXT) :] if name.startswith(_DEFAULT_CONTEXT) else name
    problem = _problem(subject)
    if problem:
        raise InvalidSubject(f"{printable(name[:80])!r} is no subject: {problem}")
    return subject


def _problem(subject: str) -> str | None:
    if not subject:
        return "it is empty"
    if len(subject) > SUBJECT_MAX_LENGTH:
        return f"it is longer than {SUBJECT_MAX_LENGTH} characters"
    if subject.startswith(":."):
        return "this registry has no contexts but the default one; leave out what is between colons"
    if subject in _RESERVED:
        return "the name is reserved"
    # MySQL compares without the blanks at the end.
    if not subject.isprintable() or subject != subject.strip():
        return "it has control characters, or begins or ends with white space"
    return None
