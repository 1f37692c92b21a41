"""``eventbus dlq`` and ``operations`` on both brokers: good and bad input, JSON, files, editors."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventbus import Event, EventBus, Retry, database
from eventbus.brokers.port import Confirmation
from eventbus.cli import main
from eventbus.message import (
    ATTEMPTS_HEADER,
    ERROR_HEADER,
    ERROR_MESSAGE_HEADER,
    FIRST_ERROR_HEADER,
    HANDLER_HEADER,
    PARKED_AT_HEADER,
    REASON_HEADER,
    TRACEBACK_HEADER,
    Message,
)
from eventbus.outbox.row import now_ms
from eventbus.topology import Queue, Topology, dead_letter_queue_name, overflow_queue_name
from eventbus.workers.options import WorkerOptions
from eventbus.workers.worker import Worker
from tests.faults.serving import serving
from tests.waiting import wait_until

BILLING, LEDGER = "shop.billing", "shop.ledger"


class InvoiceSent(Event, name="invoice.sent"):
    """An event of these tests."""

    number: int
    amount: int


@dataclass
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@dataclass
class Desk:
    """An application with two queues, and the command line in this process."""

    bus: EventBus
    capsys: pytest.CaptureFixture[str]
    #: The numbers of the invoices that ``book`` has booked.
    booked: list[int] = field(default_factory=list)
    #: Amounts that ``book`` refuses.
    unlucky: set[int] = field(default_factory=lambda: {13})

    def run(self, *arguments: str) -> Done:
        """Run ``eventbus``; whatever it is told, no traceback but a parked message's."""
        with pytest.raises(SystemExit) as ended:
            main(arguments, bus=self.bus)
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        return Done(int(ended.value.code or 0), out, err)

    def json(self, *arguments: str, code: int = 0) -> Any:
        done = self.run(*arguments, "--json")
        assert done.code == code, done.err
        return json.loads(done.out)

    def put(self, *messages: Message, queue: str = f"{LEDGER}.dlq") -> None:
        publisher = self.bus.broker.publisher("test")
        with closing(publisher):
            assert publisher.wait_ready(30), publisher.trouble
            confirmed = publisher.publish(messages, queue=queue).result(30)
        assert set(confirmed) <= {Confirmation.ROUTED}

    def counts(self) -> list[int]:
        """How many are parked from billing and from ledger."""
        with closing(self.bus.broker.admin()) as admin:
            names = [dead_letter_queue_name(queue) for queue in (BILLING, LEDGER)]
            stats = admin.stats(names)
        return [stats[name].messages for name in names]

    def wait_counts(self, *counts: int) -> None:
        wait_until(lambda: self.counts() == [*counts], 30, lambda: f"{counts}; {self.counts()}")

    def worker(self) -> AbstractContextManager[Worker]:
        """A worker of both queues in this process."""
        return serving(Worker(self.bus, WorkerOptions(concurrency=2)))

    def operations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("operations", "list")["operations"]
        return found


def failed(number: int = 1, amount: int = 13, **headers: object) -> Message:
    """An invoice that ``book`` gave up on, with the headers of a worker."""
    attributes = {
        "specversion": "1.0",
        "id": f"id-{number}",
        "source": "shop",
        "type": "invoice.sent",
        "time": "2026-01-31T12:00:00Z",
    }
    worker = {
        HANDLER_HEADER: "book",
        ATTEMPTS_HEADER: 3,
        REASON_HEADER: "failed 3 of 3 attempts: ValueError: unlucky",
        ERROR_HEADER: "ValueError",
        ERROR_MESSAGE_HEADER: "unlucky",
        FIRST_ERROR_HEADER: "KeyError",
        TRACEBACK_HEADER: "Traceback ...\nValueError: unlucky",
        PARKED_AT_HEADER: now_ms() - 60_000,
    }
    return Message(
        b'{"number":%d,"amount":%d}' % (number, amount),
        "invoice.sent",
        {**{f"cloudEvents_{name}": value for name, value in attributes.items()}, **worker}
        | headers,
        message_id=f"id-{number}",
        content_type="application/json",
    )


@pytest.fixture(params=["rabbitmq", "embedded"])
def desk(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], sqlite_url: str
) -> Iterator[Desk]:
    broker = {"broker_url": request.getfixturevalue("broker_url")}
    bus = EventBus(
        "shop", database_url=sqlite_url, **(broker if request.param == "rabbitmq" else {})
    )
    desk = Desk(bus, capsys)

    @bus.handler("invoice.sent", queue="billing")
    def charge(event: InvoiceSent) -> None: ...

    @bus.handler("invoice.*", queue="ledger", retry=Retry(max_attempts=1))
    def book(event: InvoiceSent) -> None:
        if event.amount in desk.unlucky:
            raise ValueError("unlucky")
        desk.booked.append(event.number)

    database.upgrade(bus.engine)
    with closing(bus.broker.admin()) as admin:
        admin.declare(bus.topology())
    yield desk
    bus.engine.dispose()


@pytest.fixture
def parked(desk: Desk) -> Desk:
    """With two messages parked from ledger."""
    desk.put(failed(1), failed(2, amount=14))
    return desk


# -- list and show --------------------------------------------------------------------------------


def test_list_counts_by_kind_over_all_that_is_parked(parked: Desk) -> None:
    billing, ledger = parked.json("dlq", "list")["queues"]
    assert billing == {"queue": BILLING, "parked": 0, "overflow": 0, "matching": 0, "groups": []}
    (group,) = ledger.pop("groups")
    assert ledger == {"queue": LEDGER, "parked": 2, "overflow": 0, "matching": 2}
    assert group.pop("oldest") <= group.pop("newest")
    assert group == {"handler": "book", "event": "invoice.sent", "error": "ValueError", "count": 2}
    assert "ValueError" in parked.run("dlq", "list").out


def test_list_tells_each_message_when_asked(parked: Desk) -> None:
    billing, ledger = parked.json("dlq", "list", "--messages")["queues"]
    assert billing["messages"] == []
    assert [message["id"] for message in ledger["messages"]] == ["id-1", "id-2"]
    message = ledger["messages"][0]
    assert set(message) == {
        "id",
        "event",
        "queue",
        "handler",
        "attempts",
        "reason",
        "error",
        "parked_at",
    }
    assert (message["handler"], message["attempts"]) == ("book", 3)
    done = parked.run("dlq", "list", "--messages", "--limit", "1")
    assert "id-1" in done.out
    assert "id-2" not in done.out
    assert "the first 1 are shown, 2 are parked" in done.err


@pytest.mark.parametrize(
    ("options", "matching"),
    [
        (["--event", "invoice.*"], 2),
        (["--event", "user.#"], 0),
        (["--handler", "charge"], 0),
        (["--error", "ValueError"], 2),
        (["--text", "UNLUCKY"], 2),
        (["--text", '"amount":14'], 1),
        (["--id", "id-1,id-3"], 1),
        (["--since", "1h"], 2),
        (["--until", "1h"], 0),
        (["--since", "2026-01-01", "--until", "2026-01-02T00:00:00Z"], 0),
        (["--queue", "ledger", "--text", '"number":1', "--handler", "book"], 1),
    ],
)
@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_the_filters(parked: Desk, options: list[str], matching: int) -> None:
    queues = parked.json("dlq", "list", *options)["queues"]
    assert sum(queue["matching"] for queue in queues) == matching
    messages = parked.json("dlq", "list", "--messages", *options)["queues"]
    assert sum(len(queue["messages"]) for queue in messages) == matching
    done = parked.run("dlq", "list", *options)
    assert done.code == 0
    assert ("nothing is parked for" in done.err) is (matching == 0)


def test_show_tells_everything(parked: Desk) -> None:
    (message,) = parked.json("dlq", "show", "id-1")["messages"]
    assert json.loads(message["body"]) == {"number": 1, "amount": 13}
    assert message["headers"]["cloudEvents_id"] == "id-1"
    assert message["last_failure"] == {"error": "ValueError", "message": "unlucky", "at": None}
    assert message["first_failure"]["error"] == "KeyError"
    shown = parked.run("dlq", "show", "id-1").out
    for part in ("id-1", "book", "ValueError, unlucky", "KeyError", '{"number":1,"amount":13}'):
        assert part in shown


def test_what_anybody_may_have_put_there_is_shown_as_text(desk: Desk) -> None:
    desk.put(
        Message(b"\xff\xfe", "a", type="foreign.\x1b[31m"),
        Message(b"[red]\x1b[2J\xe2\x80\xae", "a"),
    )
    listed = desk.json("dlq", "list", "--messages", "-Q", "ledger")["queues"][0]["messages"]
    assert [message["handler"] for message in listed] == [None, None]
    assert all(message["id"].startswith("~") for message in listed)
    assert "foreign.\\x1b[31m" in desk.run("dlq", "list").out
    assert desk.json("dlq", "show", listed[0]["id"])["messages"][0]["body_base64"] == "//4="
    assert "[red]\\x1b[2J\\u202e" in desk.run("dlq", "show", listed[1]["id"]).out
    exported = [json.loads(line) for line in desk.run("dlq", "export").out.splitlines()]
    assert [(one["body"], one["body_base64"]) for one in exported] == [
        (None, "//4="),
        ("[red]\x1b[2J\u202e", None),
    ]
    assert desk.json("dlq", "replay", "--id", listed[0]["id"], "--yes")["replayed"] == 1


def test_what_waits_in_an_overflow_queue_is_mentioned_and_is_no_dead_letter(parked: Desk) -> None:
    overflow = overflow_queue_name(BILLING)
    with closing(parked.bus.broker.admin()) as admin:
        if overflow not in admin.stats([overflow]):
            admin.declare(Topology(queues=(Queue(overflow, {"x-queue-type": "quorum"}),)))
    parked.put(failed(3), queue=overflow)
    done = parked.run("dlq", "list")
    assert f"{overflow}: 1 message that {BILLING} had no room for" in done.err
    billing = parked.json("dlq", "list")["queues"][0]
    assert (billing["parked"], billing["overflow"]) == (0, 1)


# -- replay ---------------------------------------------------------------------------------------


def test_a_replay_moves_what_is_chosen_and_is_noted(parked: Desk) -> None:
    chosen = ("dlq", "replay", "--text", '"amount":14', "--limit", "5", "--stop-on-failures", "0")
    moved = parked.json(*chosen, "--yes")
    assert (moved["queues"], moved["state"]) == ([{"queue": LEDGER, "replayed": 1}], "done")
    parked.wait_counts(0, 1)
    (noted,) = parked.json("operations", "list", "--kind", "dlq")["operations"]
    assert noted["id"] == moved["operation"]
    assert (noted["kind"], noted["state"], noted["done"], noted["total"]) == (
        "dlq.replay",
        "done",
        1,
        1,
    )
    assert "@" in noted["started_by"]
    assert noted["parameters"] == {
        "queues": [BILLING, LEDGER],
        "text": '"amount":14',
        "limit": 5,
        "stop_on_failures": 0.0,
    }
    assert parked.json("operations", "show", noted["id"]) == noted
    assert noted["id"] in parked.run("operations", "list").out
    assert "dlq.replay" in parked.run("operations", "show", noted["id"]).out
    with parked.worker():
        wait_until(lambda: parked.booked == [2], 30, lambda: str(parked.booked))
    done = parked.run("dlq", "replay", "--all", "--yes")
    assert done.out == f"1 message moved back to {LEDGER}\n"
    assert parked.run("dlq", "replay", "--all", "--yes").out == "nothing is parked\n"


def test_a_dry_run_counts_and_moves_nothing(parked: Desk) -> None:
    found = parked.json("dlq", "replay", "--handler", "book", "--dry-run")
    assert (found["matching"], found["older"]) == (2, 0)
    done = parked.run("dlq", "replay", "--all", "--limit", "1", "--dry-run")
    assert "1 message would be moved; nothing was" in done.err
    parked.wait_counts(0, 2)
    assert parked.operations() == []


def test_a_canary_that_comes_back_stops_the_replay_which_can_be_resumed(parked: Desk) -> None:
    with parked.worker():
        stopped = parked.json("dlq", "replay", "--all", "--canary", "1", "--yes", code=1)
        assert (stopped["state"], stopped["replayed"], stopped["returned"]) == ("stopped", 1, 1)
        assert stopped["canary"] == {"sent": 1, "handled": 0, "returned": 1}
        parked.wait_counts(0, 2)
        # It says who sent it, and the same replay leaves it alone when it goes on.
        (came_back,) = parked.json("dlq", "show", "id-1")["messages"]
        assert came_back["replayed_by"] == stopped["operation"]
        resumed = parked.json("dlq", "replay", "--resume", stopped["operation"], "--yes")
        assert (resumed["replayed"], resumed["canary"]) == (1, None)
        wait_until(lambda: parked.booked == [2], 30, lambda: str(parked.booked))
    (noted,) = parked.operations()
    assert (noted["state"], noted["runs"], noted["done"], noted["failed"]) == ("done", 2, 2, 1)
    refused = parked.run("dlq", "replay", "--resume", noted["id"], "--yes")
    assert (refused.code, "is done; there is nothing to resume" in refused.err) == (2, True)
    # Another replay takes it.
    assert parked.json("dlq", "replay", "--all", "--yes")["replayed"] == 1


def test_a_canary_that_is_handled_lets_the_others_follow(parked: Desk) -> None:
    parked.unlucky.clear()
    with parked.worker():
        moved = parked.json("dlq", "replay", "--all", "--canary", "1", "--yes")
        assert moved["canary"] == {"sent": 1, "handled": 1, "returned": 0}
        wait_until(lambda: sorted(parked.booked) == [1, 2], 30, lambda: str(parked.booked))


def test_others_that_are_parked_meanwhile_are_no_canaries(
    parked: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked.unlucky.clear()
    original = parked.bus.broker.admin

    def strangers() -> None:
        parked.put(*(failed(1_000 + number) for number in range(20)))

    monkeypatch.setattr(
        parked.bus.broker, "admin", lambda: _Disturbed(original(), strangers, after=1)
    )
    arguments = ("dlq", "replay", "--all", "--canary", "5", "--limit", "2")
    with parked.worker():
        moved = parked.json(*arguments, "--canary-wait", "30s", "--yes")
    assert moved["canary"] == {"sent": 2, "handled": 2, "returned": 0}
    assert moved["replayed"] == 2


def test_a_canary_that_nobody_handles_is_undecided(parked: Desk) -> None:
    done = parked.run("dlq", "replay", "--all", "--canary", "1", "--canary-wait", "1s", "-y")
    assert done.code == 1
    assert "canary: 1 message, 0 handled, 0 came back, 1 undecided" in done.out
    assert "go on with: --resume" in done.err
    parked.wait_counts(0, 1)


def test_too_many_that_come_back_stop_the_replay(desk: Desk) -> None:
    desk.put(*(failed(number) for number in range(300)))
    with desk.worker():
        stopped = desk.json(
            "dlq", "replay", "--all", "--rate", "60", "--stop-on-failures", "10%", "--yes", code=1
        )
    assert stopped["state"] == "stopped"
    assert 0.1 * stopped["replayed"] < stopped["returned"] <= stopped["replayed"] < 300


def test_others_that_are_parked_meanwhile_do_not_stop_it(desk: Desk) -> None:
    desk.put(*(failed(number, amount=1) for number in range(200)))

    def strangers() -> None:
        at = {PARKED_AT_HEADER: now_ms() + 1}
        desk.put(*(failed(1_000 + number, **at) for number in range(100)))

    with desk.worker():
        original = desk.bus.broker.admin
        desk.bus.broker.admin = lambda: _Disturbed(  # type: ignore[method-assign]
            original(), strangers, before=2
        )
        moved = desk.json(
            "dlq", "replay", "--all", "--rate", "100", "--stop-on-failures", "0.1", "--yes"
        )
    assert (moved["state"], moved["replayed"], moved["returned"]) == ("done", 200, 0)


class _Disturbed:
    """An `Admin`, before or after one of whose transfers something happens."""

    def __init__(self, admin: Any, disturb: Any, *, before: int = 0, after: int = 0) -> None:
        self._admin = admin
        self._before = before
        self._after = after
        self._disturb = disturb
        self._transfers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._admin, name)

    def transfer(self, *arguments: Any) -> int:
        self._transfers += 1
        if self._transfers == self._before:
            self._disturb()
        moved: int = self._admin.transfer(*arguments)
        if self._transfers == self._after:
            self._disturb()
        return moved


def test_what_was_parked_too_long_ago_is_left_unless_repeats_are_allowed(parked: Desk) -> None:
    ten_days_ago = now_ms() - 10 * 86_400_000
    parked.put(failed(3, **{PARKED_AT_HEADER: ten_days_ago}))
    assert parked.json("dlq", "replay", "--all", "--dry-run")["older"] == 1
    done = parked.run("dlq", "replay", "--all", "--yes")
    assert done.code == 0
    assert "1 message was parked longer ago than idempotency_ttl" in done.err
    assert "--allow-repeats moves them too" in done.err
    assert done.out == f"2 messages moved back to {LEDGER}\n"
    parked.wait_counts(0, 1)
    moved = parked.json("dlq", "replay", "--all", "--allow-repeats", "--yes")
    assert (moved["replayed"], moved["left_older"]) == (1, 0)


def test_a_queue_that_is_gone_is_named_before_anything_is_asked(parked: Desk) -> None:
    from eventbus.drift import FoundQueue

    with closing(parked.bus.broker.admin()) as admin:
        admin.purge(LEDGER)
        admin.delete(FoundQueue(LEDGER, None))
    done = parked.run("dlq", "replay", "--all")
    assert done.code == 2
    assert f"{LEDGER!r} is gone" in done.err
    assert "topology apply" in done.err
    parked.wait_counts(0, 2)


def test_a_replay_goes_on_without_its_audit(
    parked: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In an emergency a second server must not be needed."""
    missing = database.make_engine(f"sqlite:///{tmp_path}/gone.db")
    away = database.make_engine("postgresql+psycopg://nobody@127.0.0.1:9/x")
    for engine, said in (
        (missing, "no audit is written: the file of sqlite:///"),
        (away, "the audit of this operation cannot be written, it goes on"),
    ):
        monkeypatch.setitem(parked.bus.__dict__, "engine", engine)
        done = parked.run("dlq", "replay", "--all", "--limit", "1", "--yes")
        assert (done.code, done.out) == (0, f"1 message moved back to {LEDGER}\n")
        assert said in done.err
    assert not (tmp_path / "gone.db").exists()


def test_what_somebody_else_moves_meanwhile_is_said_to_be_missing(
    parked: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = parked.bus.broker.admin

    def somebody() -> None:
        with closing(original()) as admin:
            assert admin.transfer(f"{LEDGER}.dlq", lambda one: one, LEDGER, 1) == 1

    monkeypatch.setattr(
        parked.bus.broker, "admin", lambda: _Disturbed(original(), somebody, before=1)
    )
    done = parked.run("dlq", "replay", "--error", "ValueError", "--yes")
    assert (done.code, done.out) == (0, f"1 message moved back to {LEDGER}\n")
    assert "1 fewer than were counted" in done.err


# -- editing --------------------------------------------------------------------------------------


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set an editor that replaces a text in the file it is given."""

    def replacing(text: str, by: str) -> None:
        script = tmp_path / "editor.py"
        script.write_text(
            "import pathlib, sys\n"
            "file = pathlib.Path(sys.argv[1])\n"
            f"file.write_text(file.read_text().replace({text!r}, {by!r}))\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")

    return replacing


def test_what_is_edited_is_sent_with_its_id_and_the_original_is_kept(
    parked: Desk, edit: Any
) -> None:
    edit("13", "15")
    done = parked.run("dlq", "replay", "--id", "id-1", "--edit", "--yes")
    assert (done.code, done.out) == (0, f"1 message moved back to {LEDGER}\n")
    (noted,) = parked.operations()
    (original,) = noted["notes"]["originals"]
    assert (original["id"], original["handler"]) == ("id-1", "book")
    parked.unlucky = {15}
    with parked.worker():
        parked.wait_counts(0, 2)
    (message,) = parked.json("dlq", "show", "id-1")["messages"]
    assert json.loads(message["body"]) == {"number": 1, "amount": 15}
    assert "@" in message["edited_by"]
    assert message["edited_at"].endswith("Z")


def test_an_edited_message_whose_effect_had_happened_is_parked_not_done_again(
    parked: Desk, edit: Any
) -> None:
    parked.unlucky.clear()
    edit("13", "15")
    parked.put(failed(1))  # twice there, as after a kill in the middle of a replay
    with parked.worker():
        assert parked.json("dlq", "replay", "--id", "id-1", "--limit", "1", "-y")["replayed"] == 1
        wait_until(lambda: parked.booked == [1], 30, lambda: str(parked.booked))
        done = parked.run("dlq", "replay", "--id", "id-1", "--edit", "--yes")
        assert done.code == 0, done.err
        parked.wait_counts(0, 2)
    assert parked.booked == [1]
    (message,) = parked.json("dlq", "show", "id-1")["messages"]
    assert "used twice" in message["reason"]


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_an_edit_is_not_resumed_as_if_it_were_none(
    parked: Desk, edit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eventbus.workers.operations.operation import Operation

    def interrupted(operation: Operation, most: int) -> int:
        operation.interrupt()
        return operation.check() or most

    edit("1", "2")
    monkeypatch.setattr(Operation, "next_batch", interrupted)
    ended = parked.json("dlq", "replay", "--all", "--edit", "--yes", code=1)
    monkeypatch.undo()
    done = parked.run("dlq", "replay", "--resume", ended["operation"], "--yes")
    assert (done.code, "whose edits are not kept" in done.err) == (2, True)
    parked.wait_counts(0, 2)


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("replaced", "by", "said"),
    [
        ("13", '"many"', "amount"),
        ("13", "1.5", "amount"),
        ('"amount"', '"amuont"', "knows no field 'amuont'"),
        ("{", "", "the body is not JSON"),
        ("13", "NaN", "NaN"),
    ],
)
def test_an_edit_that_is_not_valid_sends_nothing(
    parked: Desk, edit: Any, replaced: str, by: str, said: str
) -> None:
    edit(replaced, by)
    done = parked.run("dlq", "replay", "--id", "id-1", "--edit", "--yes")
    assert done.code == 2
    assert said in done.err
    assert "nothing was sent" in done.err
    parked.wait_counts(0, 2)


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_what_cannot_or_need_not_be_edited_stays(
    parked: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "true")
    done = parked.run("dlq", "replay", "--all", "--edit", "--yes")
    assert (done.code, done.out) == (0, "nothing was edited\n")
    assert "not edited; it stays where it is" in done.err
    for editor in ("false", "no-such-editor"):
        monkeypatch.setenv("EDITOR", editor)
        done = parked.run("dlq", "replay", "--all", "--edit", "--yes")
        assert done.code == 2
        assert editor in done.err
    parked.put(Message(b"\xff", "foreign"), *(failed(number) for number in range(20)))
    done = parked.run("dlq", "replay", "--all", "--edit", "--yes")
    assert (done.code, "at most 20 messages" in done.err) == (2, True)
    done = parked.run("dlq", "replay", "--event", "foreign", "--edit", "--yes")
    assert (done.code, "cannot be edited" in done.err) == (2, True)
    parked.wait_counts(0, 23)


# -- export and delete ----------------------------------------------------------------------------


def test_an_export_is_one_object_a_line(parked: Desk, tmp_path: Path) -> None:
    done = parked.run("dlq", "export")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["id-1", "id-2"]
    assert "2 messages written" in done.err
    file = tmp_path / "out.jsonl"
    assert parked.run("dlq", "export", str(file), "--limit", "1").code == 0
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == ["id-1"]
    parked.wait_counts(0, 2)


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_cells_that_a_spreadsheet_would_run_are_text(desk: Desk, tmp_path: Path) -> None:
    for evil in ("=cmd()", "+1", "-1", "@SUM(1)", "\t=1"):
        desk.put(Message(evil.encode(), "order.paid", message_id=evil))
    desk.put(Message(b"a\nb\0c", "order.paid", message_id="x,\"y'"))
    file = tmp_path / "x.csv"
    assert desk.run("dlq", "export", str(file), "--format", "csv", "-Q", "ledger").code == 0
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows[:4]] == ["'=cmd()", "'+1", "'-1", "'@SUM(1)"]
    assert all(cell[:1] not in "=+-@\t\r\n" or not cell for row in rows for cell in row.values())
    assert (rows[-1]["id"], rows[-1]["body"]) == ("x,\"y'", "a\nb\\x00c")


def test_what_is_deleted_is_exported_first_and_noted(parked: Desk, tmp_path: Path) -> None:
    file = tmp_path / "gone.jsonl"
    deleted = parked.json("dlq", "delete", "--id", "id-1", "--export-to", str(file), "--yes")
    assert deleted["queues"] == [{"queue": LEDGER, "deleted": 1}]
    (line,) = file.read_text().splitlines()
    assert json.loads(line)["id"] == "id-1"
    (noted,) = parked.operations()
    assert (noted["kind"], noted["state"], noted["done"]) == ("dlq.delete", "done", 1)
    (left,) = parked.json("dlq", "list", "--messages", "-Q", "ledger")["queues"][0]["messages"]
    assert left["id"] == "id-2"
    assert parked.run("dlq", "delete", "--all", "--yes").out == f"1 message of {LEDGER} deleted\n"
    assert parked.run("dlq", "delete", "--all", "--yes").out == "nothing is parked\n"


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_a_file_that_is_there_is_kept_unless_forced(
    parked: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").write_text("mine")
    (tmp_path / "folder").mkdir()
    for arguments in (
        ["export", "kept"],
        ["export", "folder"],
        ["export", "../no/such/x.jsonl"],
        ["delete", "--all", "--yes", "--export-to", "kept"],
        ["delete", "--all", "--yes", "--export-to", "no/such/x.jsonl"],
    ):
        assert parked.run("dlq", *arguments).code == 2
    assert (tmp_path / "kept").read_text() == "mine"
    parked.wait_counts(0, 2)
    assert parked.run("dlq", "export", "kept", "--force").code == 0
    assert len((tmp_path / "kept").read_text().splitlines()) == 2


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
def test_without_terminal_and_yes_nothing_is_moved_or_deleted(parked: Desk) -> None:
    for command, said in (
        ("replay", f"Move 2 messages to {LEDGER}?"),
        ("delete", "Delete 2 messages for good?"),
    ):
        done = parked.run("dlq", command, "--all")
        assert done.code == 2
        assert said in done.err
        assert "--yes" in done.err
    parked.wait_counts(0, 2)


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("desk", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "--yes"], "say which messages"),
        (["delete", "--yes"], "say which messages"),
        (["replay", "--all", "--id", "x", "--yes"], "--all and --id exclude each other"),
        (["replay", "--id", "x\x1b[31m", "--yes"], "nothing is parked for"),
        (["replay", "--handler", "charge", "--yes"], "nothing is parked for --handler 'charge'"),
        (["delete", "--error", "KeyError", "--yes"], "nothing is parked for --error 'KeyError'"),
        (["export", "--text", "x"], "nothing is parked for --text 'x'"),
        (["replay", "--id", "", "--yes"], "an item of the list is empty"),
        (["replay", "--all", "--rate", "0"], "messages per second, more than zero"),
        (["replay", "--all", "--rate", "-5"], "messages per second, more than zero"),
        (["replay", "--all", "--canary", "0"], "whole number from 1 to 1000"),
        (["replay", "--all", "--canary-wait", "5s"], "--canary-wait is for --canary"),
        (["replay", "--all", "--stop-on-failures", "2"], "a share from 0 to 1"),
        (["replay", "--all", "--dry-run", "--edit"], "exclude each other"),
        (["replay", "--resume", "x", "--all"], "leave out --all"),
        (["replay", "--resume", "nope"], "there is no operation 'nope'"),
        (["replay", "--text", ""], "would be in every message"),
        (["replay", "--event", "order.*x"], "wildcard inside a word"),
        (["list", "--since", "1h", "--until", "2h"], "nothing lies between them"),
        (["list", "--since", "yesterday"], "give a time such as"),
        (["list", "--limit", "5"], "--limit is for --messages"),
        (["show", "nope"], "nothing is parked for 'nope' in shop.billing.dlq"),
        (["list", "--queue", "nope"], "declared: billing, ledger"),
        (["list", "--queue", "shop.nope"], "there is no queue 'shop.nope.dlq' on the broker"),
        (["list", "--messages", "--limit", "1e9"], "whole number from 1 to 100000"),
        (["delete", "--all", "--force"], "--force is for --export-to"),
        (["delete", "--all", "--export-to", "-"], "needs a file"),
        (["export", "--format", "xml"], "xml"),
    ],
)
def test_bad_input_ends_with_2(desk: Desk, arguments: list[str], said: str) -> None:
    done = desk.run("dlq", *arguments)
    assert done.code == 2
    assert said in done.err
