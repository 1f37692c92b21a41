"""What can be said of an event's field beside its type, in ``Annotated``.

Example::

    class OrderPaid(Event, name="order.paid"):
        order_id: Annotated[UUID, Alias("order")]
        total: Annotated[Decimal, Places(2)]
        paid: Annotated[bool, Deprecated("2027-01-01", "use paid_at")] = True
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from eventbus.errors import DeclarationError
from eventbus.fields import DECIMAL_MAX_DIGITS
from eventbus.shape import Deprecation

#: As many as the decimals of the databases and warehouses hold that events end up in.
DEFAULT_DIGITS = 38

#: Protobuf language guide, "Assigning Field Numbers": 29 bits, a thousand of them its own.
_NUMBER_MAX = 2**29 - 1
_NUMBERS_OF_PROTOBUF = range(19_000, 20_000)


@dataclass(frozen=True, slots=True)
class Alias:
    """The name on the wire that earlier writers gave to the field; readers go on accepting it.

    A field may have several. Where a message has both names, the new one counts.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DeclarationError(f"Alias({self.name!r:.80}): give the earlier name of the field")


class Deprecated(Deprecation):
    """A field, or with ``deprecated=`` an event, that is to go away.

    Parameters
    ----------
    until:
        The day from which nobody may rely on it: a date, or its text ``2027-01-01``.
    instead:
        What to use, as the rest of the sentence "it is deprecated; …".
    """

    __slots__ = ()

    def __init__(self, until: str | dt.date, instead: str) -> None:
        if not isinstance(instead, str) or not instead.strip():
            raise DeclarationError(f"Deprecated({until!r:.80}, …): say what to use instead")
        super().__init__(_date(until), instead)


def _date(given: str | dt.date) -> dt.date:
    if isinstance(given, str):
        try:
            return dt.date.fromisoformat(given)
        except ValueError:
            pass
    if type(given) is dt.date:
        return given
    raise DeclarationError(
        f"Deprecated({given!r:.80}, …): give the day on which it goes away, such as '2027-01-01'"
    )


@dataclass(frozen=True, slots=True)
class Places:
    """Digits of a `Decimal` after the point, and in all.

    A decimal with fewer places is written with zeros, one with more is refused.
    """

    places: int
    digits: int = DEFAULT_DIGITS

    def __post_init__(self) -> None:
        whole = type(self.places) is int and type(self.digits) is int
        if not (whole and 0 <= self.places <= self.digits <= DECIMAL_MAX_DIGITS and self.digits):
            raise DeclarationError(
                f"Places({self.places!r:.20}, digits={self.digits!r:.20}): a decimal has 1 to "
                f"{DECIMAL_MAX_DIGITS} digits, and as many places at most"
            )


@dataclass(frozen=True, slots=True)
class Number:
    """The Protobuf field number, where the contract must fit an existing ``.proto`` file."""

    number: int

    def __post_init__(self) -> None:
        fits = type(self.number) is int and 1 <= self.number <= _NUMBER_MAX
        if not fits or self.number in _NUMBERS_OF_PROTOBUF:
            raise DeclarationError(
                f"Number({self.number!r:.20}): a Protobuf field number is 1 to {_NUMBER_MAX}, "
                f"without 19000 to 19999"
            )


@dataclass(frozen=True, slots=True)
class Marks:
    """What is said of one field, its type aside."""

    aliases: tuple[str, ...] = ()
    deprecated: Deprecated | None = None
    number: int | None = None

    @classmethod
    def of(cls, extras: list[object], where: str) -> Marks:
        """The marks among the `extras` of ``Annotated``; `where` names the field in errors.

        Raises
        ------
        DeclarationError
            Something is said twice.
        """
        aliases = tuple(extra.name for extra in extras if isinstance(extra, Alias))
        deprecated = [extra for extra in extras if isinstance(extra, Deprecated)]
        numbers = [extra.number for extra in extras if isinstance(extra, Number)]
        if len(deprecated) > 1 or len(numbers) > 1 or len(set(aliases)) < len(aliases):
            raise DeclarationError(f"{where} has the same mark twice; leave one")
        return cls(aliases, deprecated[0] if deprecated else None, numbers[0] if numbers else None)


#: Marks of a field, which say nothing of the items of a list.
FIELD_MARKS = (Alias, Deprecated, Number)
