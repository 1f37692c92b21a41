"""The contract that the class of an event stands for."""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.contracts.formats import format_support
from eventbus.contracts.schema import Format, Schema
from eventbus.declared import record_of
from eventbus.event import Event


def writer_contract(event_class: type[Event], previous: Sequence[Schema] = ()) -> Schema:
    """The contract of a class: exactly what it writes, and marked with what it needs to read.

    `eventbus.contracts.check_evolution` takes it in both roles.

    Parameters
    ----------
    previous:
        The versions before it, the oldest first.

    Raises
    ------
    DeclarationError
        A field has no form in the class's format; the text says what to use.
    """
    format = Format.of(event_class.__wire_format__)
    texts = [schema.text for schema in previous]
    return Schema(format, format_support(format).derive(record_of(event_class), texts))
