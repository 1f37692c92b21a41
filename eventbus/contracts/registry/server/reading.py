"""What a request says: its path, query and body, checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from eventbus.contracts.registry.forms import schema_format
from eventbus.contracts.registry.port import Reference
from eventbus.contracts.registry.references import REFERENCES_MAX
from eventbus.contracts.registry.refusals import InvalidSubject, Malformed
from eventbus.contracts.registry.server.errors import InvalidVersion, NotSupported
from eventbus.contracts.registry.subject_names import checked_subject
from eventbus.contracts.schema import Schema
from eventbus.errors import InvalidSchema
from eventbus.printable import printable

VERSION_MAX = 2**31 - 1
#: Of a version, an id, a limit: "the latest", "none", "all".
UNSET = -1
#: Of a list, where the request gives no limit.
LIMIT_DEFAULT = 1000

#: Of the name by which a schema refers to another: a path, a type's name or a URI.
REFERENCE_MAX_LENGTH = 1000

#: What the original can attach to a schema. Dropped, it would never take effect.
_UNSUPPORTED = (
    "metadata",
    "ruleSet",
    "schemaTagsToAdd",
    "schemaTagsToRemove",
    "propagateSchemaTags",
)


def path_of(environ: Mapping[str, Any]) -> str:
    """The path as it was sent: in what WSGI decodes, a ``%2F`` in a subject is lost."""
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ.get("PATH_INFO", "")
    if not raw.startswith("/"):
        # A request to a proxy has the whole address.
        raw = urlsplit(raw).path
    path = raw.partition("?")[0].partition("#")[0].rstrip("/")
    return path or "/"


def decoded(segment: str) -> str:
    """A part of the path.

    Raises
    ------
    InvalidSubject
        It is percent-encoded, and what comes out is not UTF-8.
    """
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError:
        raise InvalidSubject(
            f"{printable(segment[:80])!r} in the path is not percent-encoded UTF-8"
        ) from None


def version_of(text: str) -> int | None:
    """The number of a version, or None for the latest.

    Raises
    ------
    InvalidVersion
        It is neither.
    """
    if text.lower() == "latest" or text == str(UNSET):
        return None
    if text.isascii() and text.isdigit() and len(text) < 11 and 1 <= int(text) <= VERSION_MAX:
        return int(text)
    raise InvalidVersion(
        f"{printable(text[:40])!r} is no version; give a number from 1 to {VERSION_MAX}, or "
        f"'latest'"
    )


class Query:
    """The parameters behind the question mark."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str | None:
        """A text, where it is given."""
        return self._values.get(name)

    def flag(self, name: str) -> bool:
        """True for ``true``, in any case; false for all else, as in the original."""
        return self._values.get(name, "").lower() == "true"

    def number(self, name: str, default: int) -> int:
        """A whole number from 0 on, or `UNSET`.

        Raises
        ------
        Malformed
            It is none.
        """
        text = self._values.get(name)
        if text is None:
            return default
        if text == str(UNSET) or (text.isascii() and text.isdigit() and len(text) < 11):
            return int(text)
        raise Malformed(f"{name}={printable(text[:40])!r} is no whole number from 0 on")

    def page(self, items: list[Any]) -> list[Any]:
        """The part of `items` that ``offset`` and ``limit`` ask for."""
        first = max(self.number("offset", 0), 0)
        limit = self.number("limit", UNSET)
        return items[first:] if limit == UNSET else items[first : first + limit]


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises
    ------
    Malformed
        There is none.
    """
    try:
        value = json.loads(body or b"null", parse_constant=_no_constant)
    except RecursionError:
        raise Malformed("the body is nested too deeply") from None
    except ValueError as error:
        raise Malformed(f"the body is no JSON: {printable(str(error)[:200])}") from None
    if not isinstance(value, dict):
        raise Malformed("the body must be a JSON object")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Submission:
    """A schema as a request brings it."""

    schema: Schema
    references: tuple[Reference, ...]


def submission(body: Mapping[str, Any]) -> Submission:
    """The schema in a request to register, look up or check one.

    Raises
    ------
    InvalidSchema
        It is missing, too large, or of an unknown type.
    NotSupported
        It comes with what only the original has.
    """
    for name in _UNSUPPORTED:
        if body.get(name):
            raise NotSupported(f"this registry keeps no {name}; register the schema without it")
    for name in ("id", "version"):
        if body.get(name) not in (None, UNSET, 0):
            raise NotSupported(f"this registry gives a schema its {name}; leave it out")
    text = body.get("schema")
    if not isinstance(text, str) or not text.strip():
        raise InvalidSchema("'schema' must be the text of the schema, and not be empty")
    return Submission(
        Schema.of(text, schema_format(body.get("schemaType"))),
        tuple(_references(body.get("references"))),
    )


def _references(found: Any) -> Iterable[Reference]:
    if not found:
        return
    if not isinstance(found, list) or len(found) > REFERENCES_MAX:
        raise InvalidSchema(f"'references' must be a list of at most {REFERENCES_MAX} objects")
    for one in found:
        yield _reference(one)


def _reference(found: Any) -> Reference:
    values = found if isinstance(found, dict) else {}
    name, subject, version = (values.get(key) for key in ("name", "subject", "version"))
    if (
        not isinstance(name, str)
        or not isinstance(subject, str)
        or type(version) is not int
        or not (version == UNSET or 1 <= version <= VERSION_MAX)
        or not (name.isprintable() and 0 < len(name) <= REFERENCE_MAX_LENGTH)
    ):
        raise InvalidSchema(
            f"a reference is an object with name (1 to {REFERENCE_MAX_LENGTH} characters), "
            f"subject and version"
        )
    return Reference(name, checked_subject(subject), version)
