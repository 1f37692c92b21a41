"""marshmallow's validators as the bounds of a contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import marshmallow
from marshmallow import validate

from eventbus import fields
from eventbus.errors import DeclarationError
from eventbus.regular_expressions import as_json_schema

_NUMBERS = (fields.Int, fields.Float, fields.DecimalText)


def bounds_of(declared: marshmallow.fields.Field[Any], where: str) -> dict[str, Any]:
    """The validators of a field as the attributes of `eventbus.shape`'s types.

    Parameters
    ----------
    where:
        Names the field in errors.

    Raises
    ------
    DeclarationError
        A validator has no exact form in a contract; the text says what to use.
    """
    found: dict[str, Any] = {}
    for validator in _flat(declared.validators):
        translate = _TRANSLATIONS.get(type(validator))
        if translate is None:
            raise DeclarationError(
                f"{where} is validated by {_shown(validator)}, which has no form in a contract; "
                f"use Length, Range, OneOf or Regexp, or validate where you publish"
            )
        for name, value in translate(validator, declared, where).items():
            found[name] = _stricter(name, found[name], value, where) if name in found else value
    return found


def _flat(validators: list[Callable[[Any], Any]]) -> Iterator[Callable[[Any], Any]]:
    for validator in validators:
        if type(validator) is validate.And:
            yield from _flat(list(validator.validators))
        else:
            yield validator


def _shown(validator: Any) -> str:
    return str(getattr(validator, "__qualname__", None) or type(validator).__name__)


def _stricter(name: str, one: Any, other: Any, where: str) -> Any:
    if name.startswith("min") or name == "exclusive_minimum":
        return max(one, other)
    if name.startswith("max") or name == "exclusive_maximum":
        return min(one, other)
    if name == "choices":
        return _common(one, other, where)
    if one != other:
        raise DeclarationError(f"{where} has two different Regexp; write one")
    return one


def _common(one: tuple[Any, ...], other: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    both = tuple(choice for choice in one if choice in other)
    if not both:
        raise DeclarationError(f"{where} has choices that exclude each other; leave one of them")
    return both


# -- one validator each --------------------------------------------------------------------------


def _length(
    validator: validate.Length, declared: marshmallow.fields.Field[Any], where: str
) -> dict[str, Any]:
    unit = "items" if isinstance(declared, (fields.List, fields.Mapping)) else "length"
    if unit == "length" and not isinstance(declared, fields.Text):
        raise DeclarationError(f"{where} has a Length, which belongs to a string or a list")
    if validator.equal is not None:
        return {f"min_{unit}": validator.equal, f"max_{unit}": validator.equal}
    return _set({f"min_{unit}": validator.min, f"max_{unit}": validator.max})


def _range(
    validator: validate.Range, declared: marshmallow.fields.Field[Any], where: str
) -> dict[str, Any]:
    if not isinstance(declared, _NUMBERS):
        raise DeclarationError(
            f"{where} has a Range, which has a form in a contract for int, float and Decimal only"
        )
    low = "minimum" if validator.min_inclusive else "exclusive_minimum"
    high = "maximum" if validator.max_inclusive else "exclusive_maximum"
    found = _set({low: validator.min, high: validator.max})
    for bound in found.values():
        if type(bound) not in (int, float) and not isinstance(declared, fields.DecimalText):
            raise DeclarationError(f"{where} has the bound {bound!r:.40}; give an int or a float")
    return found


def _one_of(
    validator: validate.OneOf, declared: marshmallow.fields.Field[Any], where: str
) -> dict[str, Any]:
    return _choices(validator.choices, declared, where)


def _equal(
    validator: validate.Equal, declared: marshmallow.fields.Field[Any], where: str
) -> dict[str, Any]:
    return _choices([validator.comparable], declared, where)


def _choices(given: Any, declared: marshmallow.fields.Field[Any], where: str) -> dict[str, Any]:
    wanted = {fields.Text: str, fields.Int: int}.get(type(declared))
    if wanted is None or isinstance(given, str):
        raise DeclarationError(
            f"{where} has choices, which have a form in a contract as a list, for str and int "
            f"only; use an Enum"
        )
    choices = tuple(choice for choice in given if type(choice) is wanted)
    if len(choices) != len(list(given)) or not choices:
        raise DeclarationError(
            f"{where} has choices that are no {wanted.__name__}, or none; use a list of them"
        )
    return {"choices": tuple(dict.fromkeys(choices))}


def _regexp(
    validator: validate.Regexp, declared: marshmallow.fields.Field[Any], where: str
) -> dict[str, Any]:
    if not isinstance(declared, fields.Text):
        raise DeclarationError(f"{where} has a Regexp, which belongs to a string")
    return {"pattern": as_json_schema(validator.regex, where)}


def _set(bounds: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in bounds.items() if value is not None}


_TRANSLATIONS: dict[type, Callable[..., dict[str, Any]]] = {
    validate.Length: _length,
    validate.Range: _range,
    validate.OneOf: _one_of,
    validate.Equal: _equal,
    validate.Regexp: _regexp,
}
