"""``eventbus outbox``: what waits to be published, and what was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from eventbus.cli.application import DATABASE, application_option, bus_or_settings
from eventbus.cli.options import Number, json_option

#: States of a row in the outbox, then the two kinds of rows in the event log.
STATES = ("pending", "held", "delayed", "failed", "logged", "unrouted")


@click.group("outbox")
@application_option
def command() -> None:
    """Count and list the events in the outbox. Without -A in EVENTBUS_DATABASE_URL."""


@command.command("stats")
@application_option
@json_option
def stats(as_json: bool) -> None:
    """Count what is pending, held back, failed and published.

    \b
    --json: {"pending", "held", "delayed", "failed", "logged", "unrouted": NUMBER,
             "oldest_age_ms": NUMBER|null}
    """
    import dataclasses

    from eventbus.cli.terminal import age, print_json, print_pairs
    from eventbus.outbox.store import OutboxStore

    found = OutboxStore(bus_or_settings(DATABASE).engine).stats()
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    oldest = f", the oldest for {age(found.oldest_age_ms)}" if found.pending else ""
    print_pairs(
        [
            ("pending", f"{found.pending}  wait to be published{oldest}"),
            ("held", f"{found.held}  of them held back: a queue is full, or they could not be sent"),
            ("delayed", f"{found.delayed}  until their time has come"),
            ("failed", f"{found.failed}  given up; see 'eventbus outbox list --state failed'"),
            ("logged", f"{found.logged}  published, kept in the event log"),
            (
                "unrouted",
                f"{found.unrouted}  of them without a queue; sent again once there is one",
            ),
        ]
    )


@command.command("list")
@application_option
@click.option(
    "--state",
    type=click.Choice(STATES),
    help="Only these rows; 'logged' and 'unrouted' are in the event log.",
)
@click.option(
    "--limit",
    type=Number(1, 100_000),
    default=50,
    show_default=True,
    help="Rows to show, 1 to 100000.",
)
@json_option
def list_rows(state: str | None, limit: int, as_json: bool) -> None:
    """List rows of the outbox, oldest first, or of the event log, newest first.

    \b
    --json: {"rows": [{"seq", "id", "event", "key", "state", "attempts", "created_at",
             "available_at", "published_at", "error"}]}
    """
    from eventbus.cli.terminal import Column, age, print_json, print_records
    from eventbus.outbox.row import now_ms

    rows = [_shape(row) for row in _rows(state, limit)]
    if as_json:
        print_json({"rows": [_public(row) for row in rows]})
        return
    now = now_ms()
    print_records(
        (
            Column("id"),
            Column("event", style="bold"),
            Column("state"),
            Column("age", align="right"),
            Column("key"),
        ),
        [
            (
                row["id"],
                row["event"],
                row["state"],
                age(max(now - row["created_at_ms"], 0)),
                row["key"],
            )
            for row in rows
        ],
        note="error",
        notes=[_error_text(row) for row in rows],
        empty="no such event" if state else "the outbox is empty",
    )


def _error_text(row: Mapping[str, Any]) -> str | None:
    attempts = row["attempts"]
    if not attempts or row["state"] == "held":
        return row["error"] and str(row["error"])
    return f"{attempts} {'attempt' if attempts == 1 else 'attempts'}: {row['error']}"


def _rows(state: str | None, limit: int) -> list[dict[str, Any]]:
    from eventbus.outbox.event_log import EventLog
    from eventbus.outbox.store import OutboxStore

    engine = bus_or_settings(DATABASE).engine
    if state in ("logged", "unrouted"):
        return EventLog(engine).newest(routed=False if state == "unrouted" else None, limit=limit)
    return OutboxStore(engine).rows(state=state, limit=limit)


def _shape(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of either table in one shape."""
    logged = "published_at_ms" in row
    return {
        "seq": row["seq"],
        "id": row["event_id"],
        "event": row["name"],
        "key": row["partition_key"],
        "state": _logged_state(row) if logged else row["state"],
        "attempts": None if logged else row["attempts"],
        "created_at_ms": row["created_at_ms"],
        "available_at_ms": None if logged else row["available_at_ms"],
        "published_at_ms": row["published_at_ms"] if logged else None,
        "error": None if logged else row["last_error"],
    }


def _logged_state(row: Mapping[str, Any]) -> str:
    return "logged" if row["routed"] else "unrouted"


def _public(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its times as RFC 3339."""
    from eventbus.cli.terminal import moment

    return {
        name.removesuffix("_ms"): moment(value) if name.endswith("_at_ms") else value
        for name, value in row.items()
    }
