"""``outbox show|retry|purge``: one event, and what was given up."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from eventbus import tables
from eventbus.database import writing
from eventbus.workers.dispatcher import Dispatcher

from .calls import CommandLine, OrderPaid


@pytest.fixture
def failed(eventbus: CommandLine) -> tuple[CommandLine, list[str]]:
    """Three events of two names that were given up; their ids."""
    bus = eventbus.bus
    assert bus is not None
    with writing(bus.engine) as connection:
        ids = [bus.publish(OrderPaid(order_id=str(n)), session=connection) for n in range(3)]
        columns = tables.outbox.c
        connection.execute(
            sa.update(tables.outbox).values(state="failed", attempts=100, last_error="refused")
        )
        connection.execute(
            sa.update(tables.outbox).where(columns.event_id == ids[2]).values(name="order.sent")
        )
    return eventbus, ids


def stats(eventbus: CommandLine) -> dict[str, int]:
    found: dict[str, int] = eventbus("outbox", "stats", "--json").json
    return {state: found[state] for state in ("pending", "failed", "logged")}


def test_what_was_given_up_is_published_when_it_is_retried(
    failed: tuple[CommandLine, list[str]],
) -> None:
    eventbus, _ = failed
    done = eventbus("outbox", "retry", "--event", "order.paid", "--json").json
    assert done == {"events": {"order.paid": 2}, "retried": 2}
    assert stats(eventbus) == {"pending": 2, "failed": 1, "logged": 0}
    assert eventbus.bus is not None
    Dispatcher(eventbus.bus).run_once()
    assert stats(eventbus) == {"pending": 0, "failed": 1, "logged": 2}


def test_single_events_can_be_retried_or_deleted(failed: tuple[CommandLine, list[str]]) -> None:
    eventbus, ids = failed
    assert eventbus("outbox", "retry", "--id", ids[0]).out == "1 event retried\n"
    assert eventbus("outbox", "purge", "--id", ids[1], "--yes").out == "1 event deleted\n"
    assert stats(eventbus) == {"pending": 1, "failed": 1, "logged": 0}
    kinds = [one["kind"] for one in eventbus("operations", "list", "--json").json["operations"]]
    assert kinds == ["outbox.purge", "outbox.retry"]


def test_only_what_was_given_up_is_deleted(failed: tuple[CommandLine, list[str]]) -> None:
    eventbus, ids = failed
    eventbus("outbox", "retry", "--id", ids[0])
    assert eventbus("outbox", "purge", "--all", "--yes", "--json").json["deleted"] == 2
    assert stats(eventbus) == {"pending": 1, "failed": 0, "logged": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["purge", "--all"], "give --yes"),
        (["purge"], "--id, --event or --all"),
        (["retry"], "--id, --event or --all"),
        (["retry", "--all", "--event", "order.paid"], "exclude each other"),
        (["retry", "--event", "order.payed"], "nothing was given up of 'order.payed'"),
        (["retry", "--event", "order.paid,order.payed"], "'order.payed'"),
        (["purge", "--id", "nosuch", "--yes"], "'nosuch'"),
        (["show", "no\x1b[2Jsuch"], "no event"),
    ],
)
def test_a_mistake_changes_nothing(
    failed: tuple[CommandLine, list[str]], arguments: list[str], said: str
) -> None:
    eventbus, _ = failed
    done = eventbus("outbox", *arguments)
    assert done.code == 2
    assert said in done.err
    assert stats(eventbus)["failed"] == 3


def test_nothing_to_retry_is_no_mistake(eventbus: CommandLine) -> None:
    assert eventbus("outbox", "retry", "--all").out == "0 events retried\n"


def test_an_event_is_shown_wherever_it_is(failed: tuple[CommandLine, list[str]]) -> None:
    eventbus, ids = failed
    shown = eventbus("outbox", "show", ids[0], "--json").json
    assert (shown["state"], shown["attempts"], shown["error"]) == ("failed", 100, "refused")
    assert shown["attributes"]["id"] == ids[0]
    assert shown["body"] == '{"order_id":"0"}'
    eventbus("outbox", "retry", "--id", ids[0])
    assert eventbus.bus is not None
    Dispatcher(eventbus.bus).run_once()
    assert eventbus("outbox", "show", ids[0], "--json").json["state"] in ("logged", "unrouted")
    assert '{"order_id":"0"}' in eventbus("outbox", "show", ids[0]).out


def test_a_damaged_row_can_be_shown(failed: tuple[CommandLine, list[str]]) -> None:
    eventbus, ids = failed
    assert eventbus.bus is not None
    with writing(eventbus.bus.engine) as connection:
        connection.execute(sa.update(tables.outbox).values(attributes="[1", body=b"\xff\x00"))
    done = eventbus("outbox", "show", ids[0])
    assert done.code == 0
    assert "[1" in done.out
    assert "body (base64)" in done.out
