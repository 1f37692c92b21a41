"""The type of a field in words for a person."""

from __future__ import annotations

from eventbus.shape import Array, Element, Enumeration, Kind, Map, Record, Scalar, Type


def type_text(element: Element) -> str:
    """``string(80)``, ``list(5) of uuid``, ``decimal(38, 2) or null``; bounds in parentheses."""
    text = _text(element.type)
    return f"{text} or null" if element.nullable else text


def _text(kind: Type) -> str:
    if isinstance(kind, Scalar):
        return _scalar(kind)
    if isinstance(kind, Enumeration):
        return "one of " + ", ".join(str(value) for _, value in kind.members)
    if isinstance(kind, Array):
        return f"{_bounded('list', kind.max_items)} of {type_text(kind.items)}"
    if isinstance(kind, Map):
        return f"map of string to {type_text(kind.values)}"
    return _record(kind)


def _scalar(scalar: Scalar) -> str:
    if scalar.choices is not None:
        return "one of " + ", ".join(map(str, scalar.choices))
    if scalar.kind is Kind.DECIMAL and scalar.places is not None:
        return f"decimal({scalar.digits}, {scalar.places})"
    if scalar.kind is Kind.STRING:
        return _bounded("string", scalar.max_length)
    return str(scalar.kind.value)


def _record(record: Record) -> str:
    return f"{record.name} {{{', '.join(field.name for field in record.fields)}}}"


def _bounded(text: str, most: int | None) -> str:
    return text if most is None else f"{text}({most})"
