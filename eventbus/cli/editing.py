"""Parked messages in the operator's editor, until their data is right or they are left alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import is_named
from eventbus.cli.terminal import confirm, escape, print_note

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.message import Message
    from eventbus.workers.operations.operation import Operation
    from eventbus.workers.operations.parked import Parked


def edit_all(
    bus: EventBus, chosen: Sequence[Parked], operation: Operation, yes: bool
) -> dict[str, Message]:
    """Let each of `chosen` be edited; `Parked.digest` to what to send instead of those that were.

    All are edited and asked about before any is sent. The originals are noted in `operation`.

    Raises
    ------
    click.UsageError
        No application is named, or what was written is not valid and nobody can be asked.
    NotEditable
        One of them is no event of the application.
    click.Abort
        The operator gives up; nothing is sent.
    """
    from eventbus.outbox.row import now_ms
    from eventbus.workers.operations.audit import who
    from eventbus.workers.operations.edited_dead_letters import edited, handlers_of, original_of

    if not is_named():
        raise click.UsageError("--edit needs the application, which knows its events; give -A")
    for parked in chosen:
        handlers_of(bus, parked)
    bodies = {parked.digest: _edit(bus, parked) for parked in chosen}
    changed = [parked for parked in chosen if bodies[parked.digest] is not None]
    if changed:
        confirm(f"Move {len(changed)} edited, leave {len(chosen) - len(changed)}?", yes)
        operation.note("originals", [original_of(parked) for parked in changed])
    by, at = who(), now_ms()
    return {
        parked.digest: edited(parked, body, operation.id, by, at)
        for parked in changed
        if (body := bodies[parked.digest]) is not None
    }


def _edit(bus: EventBus, parked: Parked) -> bytes | None:
    """The new body; None where it was left as it was."""
    from eventbus.workers.operations.edited_dead_letters import data_of, handlers_of, read_edited

    handlers = handlers_of(bus, parked)
    before = text = _pretty(parked.message.body, data_of(bus, parked))
    while True:
        written = click.edit(text, extension=".json")
        if written is None or written.strip() == before.strip():
            print_note(f"{parked.id}: not edited; it stays where it is")
            return None
        text = written
        body, errors = read_edited(bus, text, parked, handlers)
        if not errors:
            return body
        for error in errors:
            print_note(f"{parked.id}: {error}")
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise click.UsageError(
                f"what was written for {escape(parked.id)} is not valid; nothing was sent"
            )
        click.confirm("Edit again? (no: nothing is sent)", default=True, abort=True, err=True)


def _pretty(body: bytes, data: Any) -> str:
    """The data for an editor; a body that holds none as it is, to be mended."""
    if data is None:
        return body.decode("utf-8", "backslashreplace")
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
