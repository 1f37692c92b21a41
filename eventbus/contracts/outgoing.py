"""How the events of one class are written by the versions of their contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventbus.contracts.dataschema import dataschema
from eventbus.contracts.paths import ROOT, path_of_errors
from eventbus.contracts.schema import Format
from eventbus.contracts.wire.content_types import CONTENT_TYPES
from eventbus.envelope import dump_data
from eventbus.errors import DeclarationError, InvalidSchema, ValidationError
from eventbus.event import Event
from eventbus.outbox.outgoing import Outgoing, as_json

if TYPE_CHECKING:
    from eventbus.contracts.lock_files import LockedVersion, LockFile


def format_of(event_class: type[Event]) -> Format:
    """The format of the bodies of this class's events."""
    return Format.of(event_class.__wire_format__)


def by_contract(event_class: type[Event], history: LockFile) -> Outgoing:
    """How events of `event_class` are written by the versions of its contract.

    Raises
    ------
    ValidationError
        The contract is one of another format.
    MissingDependency
        Its package is not installed; the text names the extra.
    """
    format = format_of(event_class)
    if history.format is not format:
        raise ValidationError(
            f"{history.subject} is declared with format={format.value!r}, but its contract is "
            f"{history.format.value}, which its readers expect; keep that format, or begin a new "
            f"major"
        )
    version = matching_version(event_class, history)
    chosen = version or history.newest
    attributes = {"dataschema": dataschema(history.subject, chosen.version)}
    if format is Format.JSON:
        encode = as_json if version else _checked_json(event_class, history.subject, chosen)
        return Outgoing(encode, attributes, settled=version is not None)
    attributes["datacontenttype"] = CONTENT_TYPES[format]
    encode = _framed(event_class, history.subject, chosen, exact=version is not None)
    return Outgoing(encode, attributes, settled=version is not None)


def matching_version(event_class: type[Event], history: LockFile) -> LockedVersion | None:
    """The newest version of the contract that is exactly this class; None if it has moved away."""
    from eventbus.contracts.derivation import writer_contract
    from eventbus.contracts.fingerprints import fingerprint

    schemas = [version.schema for version in history.versions]
    try:
        for at, version in reversed(list(enumerate(history.versions))):
            # What a Protobuf schema is depends on those before it: a field keeps its number.
            if fingerprint(writer_contract(event_class, schemas[:at])) == version.fingerprint:
                return version
    except DeclarationError:
        # No contract can be derived from it, but its data may fit one all the same.
        return None
    return None


def _checked_json(
    event_class: type[Event], subject: str, version: LockedVersion
) -> Callable[[Event], bytes]:
    """As JSON, if the data fit a contract that the class has moved away from."""
    from eventbus.contracts.validation import JsonValidator

    validator = JsonValidator(version.schema)

    def encode(event: Event) -> bytes:
        data = event.__wire__()
        found = validator.first_error(data)
        if found is not None:
            raise _unfit(subject, version, *found)
        return dump_data(data)

    return encode


def _framed(
    event_class: type[Event], subject: str, version: LockedVersion, *, exact: bool
) -> Callable[[Event], bytes]:
    """In the Confluent frame; unless `exact`, also compared with what a reader would be given."""
    from eventbus.contracts.wire.codecs import codec_of, framer

    codec = codec_of(version.schema.format)
    try:
        write = codec.encoder(event_class, version.schema)
        read = None if exact else codec.reader(event_class, version.schema)
    except (DeclarationError, InvalidSchema) as error:
        raise _unfit(subject, version, ROOT, str(error)) from None
    framed = framer(version.schema.format, version.id)

    def encode(event: Event) -> bytes:
        try:
            payload = write(event)
            if read is not None:
                _compare(event, read(payload))
        except ValidationError as error:
            path = path_of_errors(error.errors)
            raise _unfit(subject, version, path, str(error), error.errors) from None
        return framed(payload)

    return encode


def _compare(event: Event, found: Event) -> None:
    """Refuse a contract that has no place for a value of `event`: a reader would not get it."""
    for name, value in event.__dict__.items():
        if found.__dict__.get(name) != value:
            raise ValidationError(
                f"{name} would be read as {found.__dict__.get(name)!r:.100}", {name: ["Lost."]}
            )


def _unfit(
    subject: str,
    version: LockedVersion,
    path: str,
    reason: str,
    errors: dict[str, object] | None = None,
) -> ValidationError:
    return ValidationError(
        f"{subject} does not fit its contract, version {version.version}, at {path}: {reason}; "
        f"the class has changed since it was registered: run 'eventbus schema lock' and 'eventbus "
        f"schema register', or publish what the contract says",
        errors,
    )
