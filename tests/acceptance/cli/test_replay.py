"""``eventbus replay``: history for one queue, and what a mistaken choice is told."""

from __future__ import annotations

import json
import signal

import pytest

from tests.waiting import wait_until

from .conftest import ORDER, Shop


@pytest.fixture
def published(bare: Shop) -> Shop:
    """Three orders in the event log, handled by nobody yet; the queues are there."""
    assert bare.run("db", "upgrade").returncode == 0
    for number in (1, 2, 3):
        bare.publish(number, key=f"k{number}")
    with bare.process("run") as process:
        process.wait_for(f"booked {ORDER}3")
        process.wait_for(f"charged {ORDER}3")
        assert process.end() == 0
    return bare


def test_a_replay_goes_to_one_queue_and_what_was_done_is_not_done_again(published: Shop) -> None:
    answer = published.json("replay", "-Q", "billing", "--yes")
    assert answer["queue"] == "shop.billing"
    assert answer["events"] == {"order.paid": 3}
    assert (answer["sent"], answer["failed"], answer["forgotten"]) == (3, 0, 0)
    with published.process("worker") as worker:

        def is_empty() -> bool:
            queues = published.json("queue", "list")["queues"]
            return all(queue["ready"] == 0 for queue in queues)

        wait_until(is_empty, 30, "empty queues")
        assert worker.end() == 0
        assert "charged" not in worker.out
        assert "booked" not in worker.out


def test_a_dry_run_counts_and_sends_nothing(published: Shop) -> None:
    counted = published.json("replay", "-Q", "ledger", "--key", "k1", "--key", "k3", "--dry-run")
    assert counted["events"] == {"order.paid": 2}
    assert counted["operation"] is None
    done = published.run("replay", "-Q", "ledger", "--dry-run")
    assert "3 events would be sent to shop.ledger; nothing was" in done.stderr
    assert all(queue["ready"] == 0 for queue in published.json("queue", "list")["queues"])


#: Arguments, and what they are told.
MISTAKES: list[tuple[list[str], str]] = [
    ([], "--queue NAME"),
    (["-Q", "nosuch"], "declared: billing, ledger"),
    (["-Q", "other.queue", "--yes"], "--event '#' for all"),
    (["-Q", "other.queue", "-e", "#", "--yes"], "'other.queue' is not on the broker"),
    (["-Q", "billing", "-e", "order.payed"], "no event of the log has such a name"),
    (["-Q", "billing", "-e", "order..paid"], "has an empty word"),
    (["-Q", "billing", "--handler", "book"], "handler"),
    (["-Q", "billing", "--since", "1m", "--until", "1h"], "nothing lies between them"),
    (["-Q", "billing", "--since", "soon"], "how long ago"),
    (["-Q", "billing", "--key", "nobody"], "holds no such event"),
    (["-Q", "billing", "--rate", "0", "--yes"], "more than zero"),
    (["-Q", "billing"], "give --yes"),
    (["--resume", "nosuch"], "there is no operation 'nosuch'"),
    (["-Q", "billing", "--resume", "some"], "leave out --queue"),
]


def test_a_mistaken_choice_sends_nothing_and_is_told(published: Shop) -> None:
    for arguments, said in MISTAKES:
        done = published.run("replay", *arguments)
        assert (done.returncode, said in done.stderr) == (2, True), (arguments, done.stderr)
    assert all(queue["ready"] == 0 for queue in published.json("queue", "list")["queues"])


def test_a_replay_that_was_interrupted_goes_on(published: Shop) -> None:
    with published.process("replay", "-Q", "ledger", "--rate", "1/m", "--yes") as replay:
        wait_until(
            lambda: any(queue["ready"] for queue in published.json("queue", "list")["queues"]),
            30,
            lambda: f"the first event: {replay.err}",
        )
        assert replay.end(signal.SIGINT) == 1
        told = replay.err
    assert "interrupted after 1 of 3" in told
    operation = told.partition("--resume ")[2].split()[0]
    wrong = published.run("replay", "--resume", operation, "--rate", "5")
    assert wrong.returncode == 2
    with published.process("replay", "--resume", operation, "--yes") as again:
        # The rate is the one that was chosen: the second is sent at once, the third in a minute.
        wait_until(
            lambda: sum(q["ready"] or 0 for q in published.json("queue", "list")["queues"]) == 2,
            30,
            lambda: f"the second event: {again.err}",
        )
        assert again.end(signal.SIGTERM) == 1
    rows = json.loads(published.run("queue", "list", "--json").stdout)["queues"]
    assert {row["queue"]: row["ready"] for row in rows}["shop.ledger"] == 2
