"""Calls of ``eventbus`` in the test's own process: what it prints, and its exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from marshmallow.validate import Length

from eventbus import Event, EventBus
from eventbus.cli import main

#: In every URL of these tests; no output may ever show it.
PASSWORD = "hunter2"


class OrderPaid(Event, name="order.paid"):
    """The event of the queues below."""

    order_id: Annotated[str, Length(max=40)]


def make_bus(**settings: Any) -> EventBus:
    """The service ``shop`` with the queues ``billing`` and ``ledger``."""
    bus = EventBus("shop", **settings)

    @bus.handler("order.paid", queue="billing")
    def charge(event: OrderPaid) -> None: ...

    @bus.handler("order.paid", queue="ledger")
    def book(event: OrderPaid) -> None: ...

    return bus


@dataclass
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


@dataclass
class CommandLine:
    """``eventbus`` for one application, or without one."""

    capsys: pytest.CaptureFixture[str]
    bus: EventBus | None = None

    def __call__(self, *arguments: str) -> Done:
        with pytest.raises(SystemExit) as ended:
            main(arguments, bus=self.bus)
        out, err = self.capsys.readouterr()
        assert PASSWORD not in out + err
        assert "\x1b" not in out + err
        assert "Traceback" not in out + err
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, out, err)
