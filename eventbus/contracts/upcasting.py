"""Data of an earlier version of a contract, turned step by step into what the class reads.

The functions are those declared with ``@OrderPaid.upcast(from_version=1)``. The chain ends behind
the last of them: later versions are read as they are, as compatible versions can be.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from eventbus.errors import UndecodableMessage

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


def chain(upcasters: Mapping[int, Upcaster], version: int, event: str) -> tuple[Upcaster, ...]:
    """The functions that data of `version` go through, in order.

    Raises
    ------
    UndecodableMessage
        One of them is missing; what comes out of the others would be nonsense.
    """
    versions = range(version, max(upcasters, default=0) + 1)
    for one in versions:
        if one not in upcasters:
            raise UndecodableMessage(
                f"version {version} of {event} cannot be read: nothing turns version {one} into "
                f"version {one + 1}; declare it with .upcast(from_version={one})"
            )
    return tuple(upcasters[one] for one in versions)


def upcast(steps: tuple[Upcaster, ...], version: int, data: Any, event: str) -> Any:
    """What `steps`, which begin with `version`, make of `data`; `data` itself is left as it is.

    What is no object comes back as it is: the class says so in its own words.

    Raises
    ------
    UndecodableMessage
        One of them raises, or returns something else than an object.
    """
    if not isinstance(data, dict):
        return data
    found = copy.deepcopy(data)
    for number, step in enumerate(steps, start=version):
        try:
            found = step(found)
        except Exception as error:
            raise UndecodableMessage(
                f"the upcaster of {event} from version {number} raised {type(error).__name__}: "
                f"{str(error)[:200]}"
            ) from error
        if not isinstance(found, dict):
            raise UndecodableMessage(
                f"the upcaster of {event} from version {number} returned "
                f"{type(found).__name__}; it is to return the data as a dict"
            )
    return found
