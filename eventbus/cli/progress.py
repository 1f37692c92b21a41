"""An operation over many messages: its audit, its progress, and Ctrl-C at a safe point."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from eventbus.cli.application import DATABASE, is_named
from eventbus.cli.terminal import escape, print_note

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.workers.operations.audit import OperationLog, OperationRecord
    from eventbus.workers.operations.operation import Operation


def audit_log(bus: EventBus) -> OperationLog | None:
    """Where the audit of an operation goes; None, and a note, where there is no database for it.

    An operation goes on without: it may be an emergency.
    """
    from eventbus import database
    from eventbus.errors import EventBusError
    from eventbus.workers.operations.audit import OperationLog

    if not is_named() and not os.environ.get(DATABASE):
        print_note(f"no audit is written: no application is named and {DATABASE} is not set")
        return None
    try:
        database.require_file(bus.engine)
    except EventBusError as error:
        print_note(f"no audit is written: {error}")
        return None
    return OperationLog(bus.engine)


@contextmanager
def shown_operation(
    operation: Operation, description: str, *, quiet: bool, resumable: bool = True
) -> Iterator[Operation]:
    """Run `operation` in this block, with a bar on a terminal's stderr unless `quiet`.

    The first Ctrl-C or SIGTERM ends it at its next safe point, a second one at once; either way
    it is said how to resume it.
    """
    from eventbus.errors import OperationInterrupted, OperationStopped

    with ExitStack() as stack:
        operation.warn = print_note
        if not quiet and sys.stderr.isatty():
            operation.observe = stack.enter_context(_bar(description))
        stack.enter_context(_interruptible(operation))
        try:
            with operation:
                yield operation
        except (OperationInterrupted, OperationStopped, KeyboardInterrupt):
            if resumable:
                stack.callback(print_note, f"go on with: --resume {operation.id}")
            raise


@contextmanager
def _bar(description: str) -> Iterator[Callable[[OperationRecord], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", markup=False, style="red"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(description), total=None, rate="", failed="")

        def observe(record: OperationRecord) -> None:
            speed = progress.tasks[0].speed
            progress.update(
                task,
                completed=record.done,
                total=record.total,
                rate="" if speed is None else f"{speed:,.0f}/s",
                failed=f"{record.failed} failed" if record.failed else "",
            )

        yield observe


@contextmanager
def _interruptible(operation: Operation) -> Iterator[None]:
    before: dict[int, Any] = {}

    def interrupt(number: int, frame: FrameType | None) -> None:
        operation.interrupt()
        # The second one is to help where the first does not.
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for restored, handler in before.items():
            signal.signal(restored, handler)
