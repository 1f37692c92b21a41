"""What each address answers: the rows of `ENDPOINTS` are the API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eventbus.contracts.compatibility import Mode
from eventbus.contracts.registry import forms
from eventbus.contracts.registry.access import Access
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.port import Reference, RegisteredSchema
from eventbus.contracts.registry.refusals import UnknownId
from eventbus.contracts.registry.serialized import serialized
from eventbus.contracts.registry.server.errors import (
    InvalidAccess,
    InvalidCompatibility,
    NotSupported,
)
from eventbus.contracts.registry.server.reading import (
    LIMIT_DEFAULT,
    UNSET,
    Query,
    Submission,
    submission,
    version_of,
)
from eventbus.contracts.registry.statements import StoredVersion
from eventbus.contracts.registry.subject_names import checked_subject
from eventbus.contracts.schema import Format
from eventbus.errors import ConfigurationError
from eventbus.printable import printable

log = logging.getLogger("eventbus.registry")

#: All subjects, and those of the default context: here the same.
_ALL_CONTEXTS = (":*:", ":.:")

_CONFIG_UNSUPPORTED = (
    "alias",
    "compatibilityGroup",
    "compatibilityPolicy",
    "defaultMetadata",
    "defaultRuleSet",
    "overrideMetadata",
    "overrideRuleSet",
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request, taken apart.

    Parameters
    ----------
    path:
        The variable parts of the address, decoded.
    body:
        The JSON object in it; empty where the address takes none.
    """

    registry: DatabaseRegistry
    path: dict[str, str]
    query: Query
    body: dict[str, Any]

    @property
    def subject(self) -> str:
        """The subject in the address."""
        return checked_subject(self.path["subject"])

    @property
    def version(self) -> int | None:
        """The version in the address; None for the latest."""
        return version_of(self.path["version"])

    @property
    def id(self) -> int:
        """The id in the address."""
        text = self.path["id"]
        if not (text.isascii() and text.isdigit() and len(text) < 11):
            raise UnknownId(f"{printable(text[:40])!r} is no id of a schema")
        return int(text)

    @property
    def wants_serialized(self) -> bool:
        """Whether Protobuf schemas are to be answered as descriptors."""
        return self.query.text("format") == "serialized"

    def submission(self) -> Submission:
        """The schema in the body, with the latest versions where it refers to those."""
        found = submission(self.body)
        return replace(found, references=tuple(map(self._numbered, found.references)))

    def _numbered(self, reference: Reference) -> Reference:
        if reference.version != UNSET:
            return reference
        return replace(reference, version=self.registry.version(reference.subject).version)


@dataclass(frozen=True, slots=True)
class Raw:
    """A schema's text, as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address.

    Parameters
    ----------
    path:
        In the words of `werkzeug.routing`.
    takes_body:
        Whether it needs a JSON object.
    """

    method: str
    path: str
    answer: Callable[[Call], Any]
    takes_body: bool = False


def _subjects(call: Call) -> list[str]:
    prefix = _prefix(call)
    only = call.query.flag("deletedOnly")
    found = call.registry.subjects(live=not only, deleted=only or call.query.flag("deleted"))
    page: list[str] = call.query.page([name for name in found if name.startswith(prefix)])
    return page


def _prefix(call: Call) -> str:
    prefix = call.query.text("subjectPrefix") or ""
    for context in _ALL_CONTEXTS:
        prefix = prefix.removeprefix(context)
    return prefix


def _look_up(call: Call) -> dict[str, Any]:
    given = call.submission()
    found = call.registry.look_up(
        call.subject, given.schema, given.references, deleted=call.query.flag("deleted")
    )
    return _registered_form(call, found)


def _registered_form(call: Call, found: RegisteredSchema) -> dict[str, Any]:
    schema = serialized(found.schema) if call.wants_serialized else found.schema
    return forms.version_form(
        found.subject, found.version, found.id, schema.format, schema.text, found.references
    )


def _delete_subject(call: Call) -> list[int]:
    permanent = call.query.flag("permanent")
    numbers = call.registry.delete_subject(call.subject, permanent=permanent)
    log.info("deleted %s%s, versions %s", call.subject, _for_good(permanent), numbers)
    return numbers


def _for_good(permanent: bool) -> str:
    return " for good" if permanent else ""


def _numbers(call: Call) -> list[int]:
    only = call.query.flag("deletedOnly")
    deleted = only or call.query.flag("deleted")
    found = call.registry.numbers(call.subject, live=not only, deleted=deleted)
    page: list[int] = call.query.page(found)
    return page


def _register(call: Call) -> dict[str, Any]:
    given = call.submission()
    found = call.registry.register(call.subject, given.schema, given.references)
    log.info("%s version %d is the schema with id %d", found.subject, found.version, found.id)
    return {"id": found.id}


def _version(call: Call) -> dict[str, Any]:
    return _registered_form(call, _found_version(call))


def _found_version(call: Call) -> RegisteredSchema:
    deleted = call.query.flag("deleted")
    return call.registry.version(call.subject, call.version, deleted=deleted)


def _delete_version(call: Call) -> int:
    permanent = call.query.flag("permanent")
    number = call.registry.delete_version(call.subject, call.version, permanent=permanent)
    log.info("deleted %s version %d%s", call.subject, number, _for_good(permanent))
    return number


def _version_text(call: Call) -> Raw:
    return Raw(_found_version(call).schema.text)


def _referenced_by(call: Call) -> list[int]:
    found = call.registry.version(call.subject, call.version)
    ids = call.registry.referenced_by(
        found.subject, found.version, deleted=call.query.flag("deleted")
    )
    page: list[int] = call.query.page(ids)
    return page


def _by_id(call: Call) -> dict[str, Any]:
    if call.wants_serialized:
        registered = call.registry.by_id(call.id)
        schema, references = serialized(registered.schema), registered.references
        form = forms.schema_form(schema.format, schema.text, references)
    else:
        found = call.registry.stored_by_id(call.id)
        form = forms.schema_form(found.format, found.text, found.references)
    if call.query.flag("fetchMaxId"):
        form["maxId"] = call.registry.highest_id()
    return form


def _text_by_id(call: Call) -> Raw:
    return Raw(call.registry.stored_by_id(call.id).text)


def _subjects_of_id(call: Call) -> list[str]:
    found = call.registry.versions_of_id(call.id, deleted=call.query.flag("deleted"))
    page: list[str] = call.query.page(list(dict.fromkeys(subject for subject, _ in found)))
    return page


def _versions_of_id(call: Call) -> list[dict[str, Any]]:
    found = call.registry.versions_of_id(call.id, deleted=call.query.flag("deleted"))
    page: list[dict[str, Any]] = call.query.page(
        [{"subject": subject, "version": version} for subject, version in found]
    )
    return page


def _schemas(call: Call) -> list[dict[str, Any]]:
    limit = call.query.number("limit", LIMIT_DEFAULT)
    found = call.registry.all_versions(
        _prefix(call),
        deleted=call.query.flag("deleted"),
        latest_only=call.query.flag("latestOnly"),
        offset=max(call.query.number("offset", 0), 0),
        limit=LIMIT_DEFAULT if limit == UNSET else min(limit, LIMIT_DEFAULT),
    )
    return [_stored_form(one) for one in found]


def _stored_form(found: StoredVersion) -> dict[str, Any]:
    schema = found.schema
    return forms.version_form(
        found.subject, found.version, schema.id, schema.format, schema.text, schema.references
    )


def _types(call: Call) -> Sequence[str]:
    return [format.schema_type for format in (Format.JSON, Format.PROTOBUF, Format.AVRO)]


def _check(call: Call) -> dict[str, Any]:
    given = call.submission()
    found = call.registry.check(call.subject, given.schema, given.references)
    return forms.compatibility_form(found, call.query.flag("verbose"))


def _check_against(call: Call) -> dict[str, Any]:
    given = call.submission()
    found = call.registry.check_against(call.subject, call.version, given.schema, given.references)
    return forms.compatibility_form(found, call.query.flag("verbose"))


def _global_config(call: Call) -> dict[str, str]:
    return _level_form(call.registry.mode())


def _level_form(mode: Mode) -> dict[str, str]:
    return {"compatibilityLevel": mode.value}


def _set_config(call: Call) -> dict[str, str]:
    mode = _compatibility(call.body)
    subject = call.subject if call.path else None
    call.registry.set_mode(mode, subject)
    log.info("the compatibility of %s is now %s", subject or "all subjects", mode.value)
    return {"compatibility": mode.value}


def _compatibility(body: dict[str, Any]) -> Mode:
    for name in _CONFIG_UNSUPPORTED:
        if body.get(name):
            raise NotSupported(f"this registry has no {name}; leave it out")
    try:
        return Mode.of(_text(body.get("compatibility")))
    except ConfigurationError as error:
        raise InvalidCompatibility(str(error)) from None


def _text(value: Any) -> str:
    """Of what is missing the text must not become "None", which is a mode."""
    return value if isinstance(value, str) else ""


def _delete_config(call: Call) -> dict[str, str]:
    subject = call.subject if call.path else None
    return _level_form(call.registry.clear_mode(subject))


def _subject_config(call: Call) -> dict[str, str]:
    if call.query.flag("defaultToGlobal"):
        return _level_form(call.registry.mode(call.subject))
    return _level_form(call.registry.own_mode(call.subject))


def _global_access(call: Call) -> dict[str, str]:
    return _access_form(call.registry.access())


def _access_form(access: Access) -> dict[str, str]:
    return {"mode": access.value}


def _set_access(call: Call) -> dict[str, str]:
    access = _access(call.body)
    subject = call.subject if call.path else None
    call.registry.set_access(access, subject)
    log.info("the mode of %s is now %s", subject or "the registry", access.value)
    return _access_form(access)


def _access(body: dict[str, Any]) -> Access:
    try:
        return Access(_text(body.get("mode")).upper())
    except ValueError:
        raise InvalidAccess(
            f"there is no mode {str(body.get('mode'))[:40]!r} here; use READWRITE or READONLY"
        ) from None


def _delete_access(call: Call) -> dict[str, str]:
    subject = call.subject if call.path else None
    return _access_form(call.registry.clear_access(subject))


def _subject_access(call: Call) -> dict[str, str]:
    if call.query.flag("defaultToGlobal"):
        return _access_form(call.registry.access(call.subject))
    return _access_form(call.registry.own_access(call.subject))


def _readers(call: Call) -> dict[str, Any]:
    found = call.registry.readers(call.subject)
    return {"readers": [forms.reader_form(one) for one in found]}


def _put_readers(call: Call) -> dict[str, Any]:
    call.registry.add_readers(forms.readers_of(call.subject, call.body.get("readers")))
    return _readers(call)


def _contexts(call: Call) -> list[str]:
    return ["."]


def _root(call: Call) -> dict[str, str]:
    return {}


def _metadata_id(call: Call) -> dict[str, Any]:
    return {"id": "", "scope": {"path": [], "clusters": {"schema-registry-cluster": "eventbus"}}}


def _metadata_version(call: Call) -> dict[str, str]:
    from eventbus import __version__

    return {"version": __version__, "commitId": ""}


_SUBJECT = "/subjects/<subject>"
_VERSIONS = f"{_SUBJECT}/versions"
_VERSION = f"{_VERSIONS}/<version>"
_ID = "/schemas/ids/<id>"

ENDPOINTS = (
    Endpoint("GET", "/", _root),
    Endpoint("GET", "/subjects", _subjects),
    Endpoint("POST", _SUBJECT, _look_up, takes_body=True),
    Endpoint("DELETE", _SUBJECT, _delete_subject),
    Endpoint("GET", _VERSIONS, _numbers),
    Endpoint("POST", _VERSIONS, _register, takes_body=True),
    Endpoint("GET", _VERSION, _version),
    Endpoint("DELETE", _VERSION, _delete_version),
    Endpoint("GET", f"{_VERSION}/schema", _version_text),
    Endpoint("GET", f"{_VERSION}/referencedby", _referenced_by),
    Endpoint("GET", f"{_SUBJECT}/readers", _readers),
    Endpoint("PUT", f"{_SUBJECT}/readers", _put_readers, takes_body=True),
    Endpoint("GET", "/schemas", _schemas),
    Endpoint("GET", "/schemas/types", _types),
    Endpoint("GET", _ID, _by_id),
    Endpoint("GET", f"{_ID}/schema", _text_by_id),
    Endpoint("GET", f"{_ID}/subjects", _subjects_of_id),
    Endpoint("GET", f"{_ID}/versions", _versions_of_id),
    Endpoint("POST", f"/compatibility{_VERSIONS}", _check, takes_body=True),
    Endpoint("POST", f"/compatibility{_VERSION}", _check_against, takes_body=True),
    Endpoint("GET", "/config", _global_config),
    Endpoint("PUT", "/config", _set_config, takes_body=True),
    Endpoint("DELETE", "/config", _delete_config),
    Endpoint("GET", "/config/<subject>", _subject_config),
    Endpoint("PUT", "/config/<subject>", _set_config, takes_body=True),
    Endpoint("DELETE", "/config/<subject>", _delete_config),
    Endpoint("GET", "/mode", _global_access),
    Endpoint("PUT", "/mode", _set_access, takes_body=True),
    Endpoint("DELETE", "/mode", _delete_access),
    Endpoint("GET", "/mode/<subject>", _subject_access),
    Endpoint("PUT", "/mode/<subject>", _set_access, takes_body=True),
    Endpoint("DELETE", "/mode/<subject>", _delete_access),
    Endpoint("GET", "/contexts", _contexts),
    Endpoint("GET", "/v1/metadata/id", _metadata_id),
    Endpoint("GET", "/v1/metadata/version", _metadata_version),
)
