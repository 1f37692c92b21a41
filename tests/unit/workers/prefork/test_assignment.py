"""How a child finds the application."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from eventbus import EventBus
from eventbus.errors import ApplicationNotFound
from eventbus.workers.options import WorkerOptions
from eventbus.workers.prefork.assignment import Assignment, where_is

bus = EventBus("assigned")


def test_a_bus_is_named_by_the_module_and_the_attribute_that_hold_it() -> None:
    assert where_is(bus) == f"{__name__}:bus"


def test_the_module_that_was_named_goes_before_the_one_that_made_the_bus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # It may be the one that imports what declares the handlers.
    main = ModuleType("assigned_main")
    main.bus = bus  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "assigned_main", main)
    assert where_is(bus, "assigned_main") == "assigned_main:bus"
    assert where_is(bus, "assigned_main:bus") == "assigned_main:bus"


def test_a_child_imports_what_declares_the_handlers() -> None:
    declaring = EventBus("declaring")

    @declaring.handler("it.happened", queue="q")
    def handle(event: Any) -> None: ...

    assignment = Assignment.of(declaring, _options, f"{__name__}:declaring")
    assert assignment.modules == (__name__,)


def test_a_bus_that_no_module_holds_is_refused_with_the_remedy() -> None:
    with pytest.raises(ApplicationNotFound, match="not an attribute of any module"):
        where_is(EventBus("nowhere"))


def test_a_script_cannot_be_imported_by_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    script = ModuleType("__main__")
    script.bus = EventBus("script")  # type: ignore[attr-defined]
    script.__spec__ = None
    monkeypatch.setitem(sys.modules, "__main__", script)
    with pytest.raises(ApplicationNotFound):
        where_is(script.bus)  # type: ignore[attr-defined]


def test_an_assignment_goes_to_another_process_unchanged() -> None:
    options = WorkerOptions(pool="prefork", concurrency=3, queues=("a",))
    assignment = Assignment.of(bus, options)
    assert Assignment.from_text(assignment.to_text()) == assignment
    assert assignment.bus() is bus


def test_an_application_that_cannot_be_imported_is_named_with_the_last_line() -> None:
    assignment = Assignment(
        "no_such_module:bus", (), tuple(sys.path), False, "INFO", "text", _options
    )
    with pytest.raises(ApplicationNotFound, match=r"'no_such_module:bus' failed: ModuleNotFound"):
        assignment.bus()


_options = WorkerOptions(pool="prefork")
