"""How the events of one class become the bodies of messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from eventbus.envelope import dump_data
from eventbus.event import Event


@dataclass(frozen=True, slots=True)
class Outgoing:
    """How the events of one class are written; `eventbus.contracts.publishing` knows it.

    Parameters
    ----------
    encode:
        An event to the body of its message; validates it.
    attributes:
        CloudEvents attributes that say how: ``dataschema``, ``datacontenttype``.
    settled:
        Whether the class is a version of its contract, so that nothing has to be looked up again.
    """

    encode: Callable[[Event], bytes]
    attributes: Mapping[str, str] = field(default_factory=dict)
    settled: bool = False


def as_json(event: Event) -> bytes:
    """The data as JSON, validated by the class."""
    return dump_data(event.__wire__())


#: As events are written that have no contract.
PLAIN = Outgoing(as_json)
