"""A schema as text, with the schemas that it refers to."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eventbus.contracts.limits import SCHEMA_MAX_BYTES
from eventbus.errors import ConfigurationError, InvalidSchema


class Format(enum.Enum):
    """The schema languages; the value is the name in our API and on the command line."""

    JSON = "json"
    AVRO = "avro"
    PROTOBUF = "protobuf"

    @property
    def schema_type(self) -> str:
        """The Confluent Schema Registry's ``schemaType``."""
        return self.value.upper()

    @classmethod
    def of(cls, name: str | Format) -> Format:
        """The format called `name`, in either spelling; ConfigurationError if there is none."""
        if isinstance(name, cls):
            return name
        try:
            return cls(str(name).lower())
        except ValueError:
            raise ConfigurationError(
                f"there is no schema format {str(name)[:80]!r}; use json, avro or protobuf"
            ) from None


@dataclass(frozen=True)
class Schema:
    """One schema.

    Parameters
    ----------
    format:
        Its language.
    text:
        JSON Schema or Avro as JSON text; Protobuf as the text of a ``.proto`` file.
    references:
        Name to the schema's text of what it refers to: the URI of a ``$ref``, the full name of an
        Avro type, the path of a Protobuf import. Nothing else is looked up: neither files nor URLs.
    """

    format: Format
    text: str
    references: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any, format: str | Format) -> Schema:
        """The schema that `given` is: a `Schema`, text, or the JSON value of one.

        Raises
        ------
        InvalidSchema
            It is of another type, or too large.
        """
        found = Format.of(format)
        if isinstance(given, cls):
            if given.format is not found:
                raise InvalidSchema(
                    f"a {given.format.value} schema was given where {found.value} is needed"
                )
            return given
        if isinstance(given, bytes):
            given = _decoded(given)
        if isinstance(given, str):
            text = given
        elif found is not Format.PROTOBUF and isinstance(given, (dict, list, bool)):
            text = _dumped(given)
        else:
            raise InvalidSchema(
                f"a {found.value} schema cannot be a {type(given).__name__}; give its text"
            )
        if (
            len(text) > SCHEMA_MAX_BYTES
            or len(text.encode("utf-8", "surrogatepass")) > SCHEMA_MAX_BYTES
        ):
            raise InvalidSchema(f"the schema has more than {SCHEMA_MAX_BYTES:,} bytes")
        return cls(found, text)


def _decoded(given: bytes) -> str:
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise InvalidSchema("the schema is not UTF-8") from None


def _dumped(given: Any) -> str:
    try:
        return json.dumps(given, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSchema(f"the schema is no JSON value: {str(error)[:200]}") from None
