"""A registry elsewhere: one of ours, or any that has the API of the Confluent Schema Registry.

What it answers is kept in the application's database, so that what was read once can be read while
it is away. A schema with its id never changes, and is not asked for twice.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventbus.contracts.compatibility import Compatibility, Difference, Mode
from eventbus.contracts.fingerprints import fingerprint
from eventbus.contracts.registry import forms
from eventbus.contracts.registry.answers import KeptAnswers
from eventbus.contracts.registry.database import DatabaseRegistry
from eventbus.contracts.registry.evolution import broken_readers, broken_text
from eventbus.contracts.registry.http import NoSuchAddress, RegistryHttp
from eventbus.contracts.registry.port import Reader, Reference, RegisteredSchema
from eventbus.contracts.registry.references import REFERENCES_MAX
from eventbus.contracts.registry.refusals import Malformed, RefusedVersion
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import (
    ConfigurationError,
    EventBusError,
    IncompatibleContract,
    InvalidSchema,
    RegistryUnavailable,
    UnknownSchema,
)
from eventbus.printable import printable

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

log = logging.getLogger("eventbus.registry")

#: Schemas by id that are kept in memory.
_SCHEMAS_MAX = 1000


class RemoteRegistry:
    """The `Registry` at an ``http(s)://`` address. Threads and forked children may share it.

    Parameters
    ----------
    url:
        As in the setting `registry_url`.
    engine:
        The application's database, for what has to be kept here: answers, and readers where the
        registry is not one of ours.
    """

    def __init__(self, url: str, engine: Engine) -> None:
        self._http = RegistryHttp(url)
        self._kept = KeptAnswers(engine, self._http.address)
        self._here = DatabaseRegistry(engine)
        self._by_id: OrderedDict[int, RegisteredSchema] = OrderedDict()
        self._away = False

    def subjects(self) -> list[str]:
        """See `Registry.subjects`."""
        found = self._read("subjects")
        return sorted(name for name in _list(found) if isinstance(name, str))

    def versions(self, subject: str) -> list[RegisteredSchema]:
        """See `Registry.versions`."""
        numbers = self._read(f"{_subject(subject)}/versions")
        return [self._version(subject, number) for number in sorted(map(_number, _list(numbers)))]

    def by_id(self, id: int) -> RegisteredSchema:
        """See `Registry.by_id`."""
        found = self._by_id.get(id)
        if found is None:
            found = self._look_up_id(id)
            self._by_id[id] = found
            if len(self._by_id) > _SCHEMAS_MAX:
                self._by_id.popitem(last=False)
        return found

    def look_up(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> RegisteredSchema:
        """See `Registry.look_up`."""
        try:
            found = self._http.ask(_subject(subject), _submission(schema, references))
        except (UnknownSchema, RegistryUnavailable) as error:
            # Others compare the text; and what is kept answers while the registry is away.
            wanted = fingerprint(schema)
            for one in self._versions_or(error, subject):
                if _has_fingerprint(one, wanted):
                    return one
            raise
        return self._registered(found)

    def _versions_or(self, error: EventBusError, subject: str) -> list[RegisteredSchema]:
        try:
            return list(reversed(self.versions(subject)))
        except (UnknownSchema, RegistryUnavailable):
            raise error from None

    def register(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> RegisteredSchema:
        """See `Registry.register`."""
        try:
            self._http.write(
                "POST", f"{_subject(subject)}/versions", _submission(schema, references)
            )
        except IncompatibleContract as error:
            broken = broken_readers(self._readers_here(subject), schema)
            texts = [str(error), *(broken_text(reader, why) for reader, why in broken)]
            raise RefusedVersion("; ".join(texts), (), [reader for reader, _ in broken]) from None
        # Kept, for those that publish: they need the ids and may not ask.
        self.versions(subject)
        return self.look_up(subject, schema, references)

    def check(
        self, subject: str, schema: Schema, references: Sequence[Reference] = ()
    ) -> Compatibility:
        """See `Registry.check`."""
        path = f"compatibility/{_subject(subject)}/versions?verbose=true"
        try:
            found = self._http.ask(path, _submission(schema, references))
        except UnknownSchema:
            # To others a subject without a version is an unknown one.
            return Compatibility()
        return _compatibility(found)

    def mode(self, subject: str | None = None) -> Mode:
        """See `Registry.mode`."""
        path = "config" if subject is None else f"{_config(subject)}?defaultToGlobal=true"
        found = self._read(path)
        level = found.get("compatibilityLevel") if isinstance(found, dict) else None
        try:
            return Mode.of(level if isinstance(level, str) else "")
        except ConfigurationError as error:
            raise RegistryUnavailable(f"the schema registry's answer is odd: {error}") from None

    def set_mode(self, mode: Mode, subject: str | None = None) -> None:
        """See `Registry.set_mode`."""
        path = "config" if subject is None else _config(subject)
        self._http.write("PUT", path, {"compatibility": mode.value})

    def readers(self, subject: str) -> list[Reader]:
        """See `Registry.readers`; where the registry is not one of ours, those told from here."""
        try:
            found = self._read(f"{_subject(subject)}/readers")
        except NoSuchAddress:
            return self._readers_here(subject)
        try:
            return forms.readers_of(subject, _object(found).get("readers"))
        except (Malformed, InvalidSchema):
            raise _odd(found) from None

    def add_readers(self, readers: Sequence[Reader]) -> None:
        """See `Registry.add_readers`."""
        of_subject: dict[str, list[Reader]] = {}
        for reader in readers:
            of_subject.setdefault(reader.subject, []).append(reader)
        for subject, told in of_subject.items():
            body = {"readers": [forms.reader_form(one) for one in told]}
            try:
                self._http.write("PUT", f"{_subject(subject)}/readers", body)
            except NoSuchAddress:
                self._here.add_readers(told)

    def _readers_here(self, subject: str) -> list[Reader]:
        try:
            return self._here.readers(subject)
        except EventBusError as error:
            log.warning("the readers of %s are not known: %s", subject, error)
            return []

    def _look_up_id(self, id: int) -> RegisteredSchema:
        path = f"schemas/ids/{id}"
        form = self._kept.answer(path)
        if form is None:
            form = self._read(path)
        try:
            named = _list(self._read(f"{path}/versions?deleted=true"))
        except (UnknownSchema, NoSuchAddress, RegistryUnavailable):
            named = []
        first = named[0] if named and isinstance(named[0], dict) else {"subject": "", "version": 0}
        return self._registered({**_object(form), "id": id, **first})

    def _version(self, subject: str, number: int) -> RegisteredSchema:
        return self._registered(self._read(f"{_subject(subject)}/versions/{number}"))

    def _registered(self, form: Any) -> RegisteredSchema:
        found = _registered(form)
        if not found.references:
            return found
        texts = self._texts(found.references)
        return replace(found, schema=Schema(found.schema.format, found.schema.text, texts))

    def _texts(self, references: Sequence[Reference]) -> dict[str, str]:
        texts: dict[str, str] = {}
        waiting = list(references)
        while waiting and len(texts) < REFERENCES_MAX:
            reference = waiting.pop()
            if reference.name in texts:
                continue
            path = f"{_subject(reference.subject)}/versions/{reference.version}?deleted=true"
            found = _registered(self._read(path))
            texts[reference.name] = found.schema.text
            waiting += found.references
        return texts

    def _read(self, path: str) -> Any:
        """What the registry answers to ``GET path``, or what it answered last, where it is away."""
        try:
            answer = self._http.read(path)
        except RegistryUnavailable as error:
            kept = self._kept.answer(path)
            if kept is None:
                raise
            if not self._away:
                log.warning("what the schema registry said before is used: %s", error)
            self._away = True
            return kept
        except UnknownSchema:
            self._kept.forget(path)
            raise
        self._away = False
        self._kept.keep(path, answer)
        return answer


class KeptRegistry(RemoteRegistry):
    """What a registry at an address has said before; it is not asked."""

    def _read(self, path: str) -> Any:
        kept = self._kept.answer(path)
        if kept is None:
            raise UnknownSchema(f"nothing is kept of {path!r}")
        return kept


def _subject(subject: str) -> str:
    return f"subjects/{quote(subject, safe='')}"


def _config(subject: str) -> str:
    return f"config/{quote(subject, safe='')}"


def _submission(schema: Schema, references: Sequence[Reference]) -> dict[str, Any]:
    if schema.references and not references:
        raise InvalidSchema(
            "the schema refers to others by their texts; register those first, and give their "
            "subjects and versions"
        )
    return forms.schema_form(schema.format, schema.text, references)


def _has_fingerprint(one: RegisteredSchema, wanted: str) -> bool:
    try:
        return fingerprint(one.schema) == wanted
    except InvalidSchema:
        return False


def _registered(form: Any) -> RegisteredSchema:
    """A version in the form of the API.

    Raises
    ------
    RegistryUnavailable
        It is none: whatever answers is no schema registry.
    """
    values = _object(form)
    text, subject = values.get("schema"), values.get("subject")
    if not isinstance(text, str) or not isinstance(subject, str):
        raise _odd(form)
    try:
        schema = Schema.of(text, Format.of(values.get("schemaType") or Format.AVRO))
    except (ConfigurationError, InvalidSchema):
        raise _odd(form) from None
    return RegisteredSchema(
        subject=subject,
        version=_number(values.get("version")),
        id=_number(values.get("id")),
        schema=schema,
        references=tuple(map(_reference, _list(values.get("references") or []))),
    )


def _reference(form: Any) -> Reference:
    values = _object(form)
    return Reference(
        str(values.get("name")), str(values.get("subject")), _number(values.get("version"))
    )


def _compatibility(form: Any) -> Compatibility:
    values = _object(form)
    compatible = values.get("is_compatible")
    if compatible is True:
        return Compatibility()
    if compatible is not False:
        raise _odd(form)
    told = [forms.difference_of(one) for one in _list(values.get("differences") or [])]
    differences = [one for one in told if one is not None] or [
        Difference("INCOMPATIBLE", "", printable(str(one)[:2000]))
        for one in _list(values.get("messages") or ["the registry does not say why"])
    ]
    return Compatibility(tuple(differences))


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _odd(value)
    return value


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _odd(value)
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise _odd(value)
    return value


def _odd(value: Any) -> RegistryUnavailable:
    return RegistryUnavailable(
        f"the schema registry's answer is not of the expected form: {printable(str(value)[:200])}"
    )
