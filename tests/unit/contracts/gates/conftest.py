"""A shop whose events are declared anew as often as a test likes."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest

from eventbus import Event, EventBus


class Shop:
    """A service with lock files in a folder of its own.

    The only events are those that it declares: those of all other tests are classes of the same
    process, and would be checked as well.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, service: str) -> None:
        self._events: dict[str, type[Event]] = {}
        self._folder = folder
        self._service = service
        monkeypatch.setattr("eventbus.bus.named_events", lambda: dict(self._events))
        monkeypatch.setattr("eventbus.subscription.named_events", lambda: dict(self._events))
        self.bus = self.restarted()

    def restarted(self, **settings: Any) -> EventBus:
        """The same service as a new process has it: no handlers yet."""
        self.bus = EventBus(self._service, contracts=str(self._folder), **settings)
        return self.bus

    def event(self, name: str = "order.paid", **fields: Any) -> type[Event]:
        """Declare an event; a field is a type, or a type and a default.

        Keywords that begin with an underscore go to the class statement.
        """
        keywords = {key[1:]: fields.pop(key) for key in list(fields) if key.startswith("_")}
        namespace: dict[str, Any] = {"__annotations__": {}, "__module__": __name__}
        for field, hint in fields.items():
            kind, *default = hint if isinstance(hint, tuple) else (hint,)
            namespace["__annotations__"][field] = kind
            if default:
                namespace[field] = default[0]
        keywords = {"style": "snapshot", "reason": "a test", "name": name, **keywords}
        made = types.new_class("Declared", (Event,), keywords, lambda d: d.update(namespace))
        known = self._events.get(made.__event_name__)
        if known is None or known.__source__ or not made.__source__:
            self._events[made.__event_name__] = made
        return made

    def without(self, name: str) -> None:
        """Declare an event no longer."""
        del self._events[name]

    def handler(self, event_class: type[Event], name: str = "charge") -> None:
        """Declare a handler in the queue ``billing``."""

        def handle(event: Any) -> None: ...

        handle.__annotations__["event"] = event_class
        self.bus.handler(event_class, queue="billing", name=name)(handle)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The service ``shop``."""
    return Shop(tmp_path / "contracts", monkeypatch, "shop")
