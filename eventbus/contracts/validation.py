"""Data against a JSON Schema contract, where no class stands for it.

The package `jsonschema` checks; the formats are checked as our contracts mean them: a
``date-time`` is an RFC 3339 time with a zone, a ``date`` and a ``uuid`` are in their one usual
form. Other formats are notes for people. Nothing is fetched, whatever a ``$ref`` says.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any

from eventbus.contracts.paths import json_path
from eventbus.contracts.schema import Schema
from eventbus.errors import MissingDependency
from eventbus.fields import parse_timestamp

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


class JsonValidator:
    """Checks data against one contract.

    Raises
    ------
    MissingDependency
        `jsonschema` is not installed.
    """

    def __init__(self, schema: Schema) -> None:
        try:
            import jsonschema
            from referencing import Registry
            from referencing.jsonschema import DRAFT202012
        except ImportError:
            raise MissingDependency(
                "an event whose class has moved away from its contract is checked by jsonschema, "
                "which is not installed; pip install 'eventbus[contracts]'"
            ) from None
        document = json.loads(schema.text)
        validator = jsonschema.validators.validator_for(
            document, default=jsonschema.Draft202012Validator
        )
        registry: Any = Registry().with_contents(
            [(uri, json.loads(text)) for uri, text in schema.references.items()],
            default_specification=DRAFT202012,
        )
        self._validator: Any = validator(
            document, registry=registry, format_checker=_format_checker(jsonschema)
        )

    def first_error(self, data: Any) -> tuple[str, str] | None:
        """JSON path and reason of what is most wrong with `data`; None if it fits."""
        from jsonschema.exceptions import best_match

        error = best_match(self._validator.iter_errors(data))
        if error is None:
            return None
        return json_path(error.absolute_path), str(error.message)[:500]


def _format_checker(jsonschema: Any) -> Any:
    checker = jsonschema.FormatChecker(formats=())
    checker.checks("date-time", raises=ValueError)(_is_timestamp)
    checker.checks("date", raises=ValueError)(_is_date)
    checker.checks("uuid")(_is_uuid)
    return checker


def _is_timestamp(value: Any) -> bool:
    return not isinstance(value, str) or parse_timestamp(value) is not None


def _is_date(value: Any) -> bool:
    if not isinstance(value, str):
        return True
    # Python 3.11 and later read other forms too.
    return dt.date.fromisoformat(value) is not None and _DATE.fullmatch(value) is not None


def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or _UUID.fullmatch(value) is not None
