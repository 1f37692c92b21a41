"""How the events of a class are written: in which format, by which version of their contract.

The contract is looked up once for each class, when its first event is published: in the lock files,
then in the contract tables of the application's own database. The network is never asked, as this
happens inside the business transaction; a registry that is down stops nothing.

    class == a version    its own validation is enough: nothing more happens for each event
    class has moved away  the data are validated against the newest version, and refused if they do
                          not fit
    no contract           JSON, as the class says; refused with `require_contract`, and in Avro and
                          Protobuf, which nobody could read without a registered schema
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from eventbus.contracts.known import KnownContracts
from eventbus.contracts.outgoing import by_contract, format_of
from eventbus.contracts.schema import Format
from eventbus.errors import EventBusError, InvalidLockFile, ValidationError
from eventbus.event import Event
from eventbus.outbox.outgoing import PLAIN, Outgoing

if TYPE_CHECKING:
    from eventbus.bus import EventBus

log = logging.getLogger("eventbus.contracts")

#: After so long a contract is looked up again that was not there, or that the class does not have.
LOOK_AGAIN_SECONDS = 60.0


class Publishing:
    """Knows for each event class of a bus how its events are written."""

    def __init__(self, bus: EventBus) -> None:
        self._settings = bus.settings
        self._contracts = KnownContracts(bus)
        self._found: dict[type[Event], tuple[Outgoing, float]] = {}

    def outgoing(self, event_class: type[Event]) -> Outgoing:
        """How events of this class are written.

        Raises
        ------
        ValidationError
            There is no contract where one is needed, or it is one of another format.
        InvalidLockFile
            It is damaged, and nothing stands in for it: what should be checked is not published
            unchecked.
        """
        found = self._found.get(event_class)
        if found is None or (not found[0].settled and time.monotonic() >= found[1]):
            found = (self._look_up(event_class), time.monotonic() + LOOK_AGAIN_SECONDS)
            self._found[event_class] = found
        return found[0]

    def _look_up(self, event_class: type[Event]) -> Outgoing:
        name = event_class.__event_name__
        try:
            history = self._contracts.history(name)
        except InvalidLockFile:
            raise
        except EventBusError as error:
            self._check_optional(event_class, f"its contract cannot be looked up: {error}")
            log.warning("%s is published unchecked; its contract cannot be read: %s", name, error)
            return PLAIN
        if history is not None:
            return by_contract(event_class, history)
        self._check_optional(
            event_class,
            f"neither the folder {self._settings.contracts!r} nor the database has one; run "
            f"'eventbus schema lock', or 'eventbus schema register'",
        )
        return PLAIN

    def _check_optional(self, event_class: type[Event], why: str) -> None:
        """Refuse an event that needs the contract that it does not have."""
        name, format = event_class.__event_name__, format_of(event_class)
        if format is not Format.JSON:
            raise ValidationError(
                f"{name} is written as {format.value}, which nobody could read without a "
                f"registered contract, and {why}"
            )
        if self._settings.require_contract:
            raise ValidationError(f"{name} needs a contract, as require_contract says, and {why}")
