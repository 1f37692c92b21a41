"""CloudEvents ``dataschema``: which contract an event's data were written with."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, unquote

from eventbus.errors import UndecodableMessage

PREFIX = "urn:eventbus:schema:"
#: Of a message that does not say.
FIRST_VERSION = 1
_VERSION_MAX = 2**31 - 1


def dataschema(subject: str, version: int) -> str:
    """``urn:eventbus:schema:order.paid:3``; a URI whatever the name (CloudEvents 1.0.2 §3.1)."""
    return f"{PREFIX}{quote(subject, safe='')}:{version}"


def version_of(uri: str, event_name: str) -> int | None:
    """The version of the event's contract that `uri` names; None where it is somebody else's URI.

    Raises
    ------
    UndecodableMessage
        It is one of ours, but of another event, or without a version.
    """
    if not uri.startswith(PREFIX):
        return None
    return _version(uri, event_name) if len(uri) < _SHORT else _read_version(uri, event_name)


def _read_version(uri: str, event_name: str) -> int:
    name, _, version = uri[len(PREFIX) :].rpartition(":")
    if unquote(name) != event_name:
        raise UndecodableMessage(
            f"CloudEvents attribute 'dataschema' is {uri[:200]!r}, the contract of another event "
            f"than {event_name[:100]!r}"
        )
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 11 else 0
    if not 0 < number <= _VERSION_MAX:
        raise UndecodableMessage(
            f"CloudEvents attribute 'dataschema' is {uri[:200]!r}, which ends in no version"
        )
    return number


#: The same few come with every message; long ones are an outsider's, and not worth their memory.
_SHORT = 512
_version = lru_cache(maxsize=1024)(_read_version)
