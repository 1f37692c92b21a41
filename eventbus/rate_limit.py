"""A rate as a person writes it: ``100/s``, ``30/m``, ``5000/h``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from eventbus.errors import DeclarationError

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}

_FORM = re.compile(r"\s*(\d{1,9})\s*/\s*([smh])\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `count` runs in `per_seconds` seconds.

    Example::

        RateLimit.parse("100/s") == RateLimit(100, 1.0)
    """

    count: int
    per_seconds: float = 1.0

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= 999_999_999:
            raise DeclarationError(f"RateLimit count={self.count!r}: use 1 to 999,999,999")
        if not isinstance(self.per_seconds, (int, float)) or not 0 < self.per_seconds <= 86_400:
            raise DeclarationError(
                f"RateLimit per_seconds={self.per_seconds!r}: use more than 0, up to a day (86400)"
            )

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """The rate that `text` says: a number, a slash, and ``s``, ``m`` or ``h``.

        Raises
        ------
        DeclarationError
            It says none, or a rate of zero.
        """
        found = _FORM.fullmatch(text)
        if found is None or int(found[1]) == 0:
            raise DeclarationError(
                f"rate {text[:80]!r} cannot be used; write a number of 1 and more per second, "
                f"minute or hour: '100/s', '30/m' or '5000/h'"
            )
        return cls(int(found[1]), _SECONDS[found[2]])

    @property
    def per_second(self) -> float:
        """Runs in a second, on average."""
        return self.count / self.per_seconds

    def __str__(self) -> str:
        for unit, seconds in _SECONDS.items():
            if self.per_seconds == seconds:
                return f"{self.count}/{unit}"
        return f"{self.count} in {self.per_seconds:g} s"
