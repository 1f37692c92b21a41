"""How schemas, readers and differences look in JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eventbus.contracts.compatibility import Compatibility, Difference
from eventbus.contracts.registry.evolution import difference_text
from eventbus.contracts.registry.port import Reader, Reference
from eventbus.contracts.registry.refusals import Malformed
from eventbus.contracts.schema import Format, Schema
from eventbus.errors import ConfigurationError, InvalidSchema
from eventbus.printable import printable

#: A worker tells what all its handlers read.
READERS_MAX = 1000


def schema_form(format: Format, text: str, references: Iterable[Reference] = ()) -> dict[str, Any]:
    """A schema; ``schemaType`` is left out for Avro, as the original does for its old clients."""
    form: dict[str, Any] = {}
    if format is not Format.AVRO:
        form["schemaType"] = format.schema_type
    listed = [reference_form(one) for one in references]
    if listed:
        form["references"] = listed
    form["schema"] = text
    return form


def schema_format(schema_type: Any) -> Format:
    """The format called `schema_type`; AVRO where the request names none, as in the original.

    Raises
    ------
    InvalidSchema
        There is none.
    """
    try:
        return Format.of(str(schema_type)) if schema_type else Format.AVRO
    except ConfigurationError:
        raise InvalidSchema(
            f"there is no schemaType {printable(str(schema_type)[:40])!r}; use AVRO, JSON or "
            f"PROTOBUF"
        ) from None


def reference_form(reference: Reference) -> dict[str, Any]:
    """What a schema refers to."""
    return {
        "name": reference.name,
        "subject": reference.subject,
        "version": reference.version,
    }


def version_form(
    subject: str,
    version: int,
    id: int,
    format: Format,
    text: str,
    references: Iterable[Reference],
) -> dict[str, Any]:
    """A version of a subject."""
    return {
        "subject": subject,
        "version": version,
        "id": id,
        **schema_form(format, text, references),
    }


def compatibility_form(found: Compatibility, verbose: bool) -> dict[str, Any]:
    """The answer of a check; `verbose` says why, in sentences and as values."""
    form: dict[str, Any] = {"is_compatible": found.compatible}
    if verbose:
        form["messages"] = [difference_text(one) for one in found.differences]
        form["differences"] = [difference_form(one) for one in found.differences]
    return form


def difference_form(difference: Difference) -> dict[str, Any]:
    """One difference; only registries of ours know this form."""
    return {
        "kind": difference.kind,
        "path": difference.path,
        "message": difference.message,
        "version": difference.version,
        "direction": difference.direction,
    }


def difference_of(form: Any) -> Difference | None:
    """The difference in an answer, or None where it has another form."""
    if not isinstance(form, dict) or not all(
        isinstance(form.get(key), str) for key in ("kind", "path", "message")
    ):
        return None
    version, direction = form.get("version"), form.get("direction")
    return Difference(
        form["kind"],
        form["path"],
        form["message"],
        version if type(version) is int else None,
        direction if isinstance(direction, str) else None,
    )


def reader_form(reader: Reader) -> dict[str, Any]:
    """A reader; only registries of ours know this form."""
    return {
        "service": reader.service,
        "release": reader.release,
        "queue": reader.queue,
        "handler": reader.handler,
        "schemaType": reader.schema.format.schema_type,
        "schema": reader.schema.text,
        "references": dict(reader.schema.references),
        "seenAtMs": reader.seen_at_ms,
    }


def readers_of(subject: str, forms: Any) -> list[Reader]:
    """The readers in a request or an answer.

    Raises
    ------
    Malformed
        They are not in this form.
    """
    if not isinstance(forms, list) or len(forms) > READERS_MAX:
        raise Malformed(f"'readers' must be a list of at most {READERS_MAX} objects")
    return [_reader_of(subject, form) for form in forms]


def _reader_of(subject: str, form: Any) -> Reader:
    values: Mapping[str, Any] = form if isinstance(form, dict) else {}
    for key in ("service", "release", "queue", "handler", "schema"):
        if not isinstance(values.get(key), str):
            raise Malformed(f"a reader's {key!r} must be a text")
    references, seen = values.get("references") or {}, values.get("seenAtMs")
    if type(seen) is not int or not 0 <= seen < 2**53:
        raise Malformed("a reader's 'seenAtMs' must be a time in epoch milliseconds")
    if not isinstance(references, dict) or not all(map(_is_text, references.values())):
        raise Malformed("a reader's 'references' must be an object of texts")
    schema = Schema.of(values["schema"], schema_format(values.get("schemaType")))
    return Reader(
        subject=subject,
        service=values["service"],
        release=values["release"],
        queue=values["queue"],
        handler=values["handler"],
        schema=Schema(schema.format, schema.text, references),
        seen_at_ms=seen,
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
