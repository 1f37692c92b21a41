"""`Admin.browse`, `transfer` and `remove` with many messages, a pace, and two at the same time."""

from __future__ import annotations

import threading

import pytest

from eventbus.brokers.rabbitmq import moving
from eventbus.errors import OperationInterrupted, UnknownName
from eventbus.message import Message
from eventbus.topology import dead_letter_queue_name
from tests.integration.brokers.conftest import QUEUE, Bench, bodies, message

DLQ = dead_letter_queue_name(QUEUE)
MANY = 1_200


@pytest.fixture
def parked(bench: Bench) -> Bench:
    """`MANY` messages in the dead-letter queue."""
    _park(bench, MANY)
    return bench


def _park(bench: Bench, count: int) -> None:
    bench.declare("#")
    bench.publisher().publish([message(n) for n in range(count)], queue=DLQ).result(60)


def _numbers(messages: list[Message]) -> list[int]:
    return [int(one.body[10:-1]) for one in messages]


def _everything(one: Message) -> Message:
    return one


def test_all_can_be_looked_at_in_order_and_stay(parked: Bench) -> None:
    admin = parked.admin()
    assert _numbers(list(admin.browse(DLQ))) == list(range(MANY))
    parked.wait_counts({DLQ: MANY})
    # A quorum queue does not keep the order of very many.
    assert sorted(_numbers(list(admin.browse(DLQ)))) == list(range(MANY))


def test_a_look_that_ends_early_gives_everything_back(parked: Bench) -> None:
    admin = parked.admin()
    look = admin.browse(DLQ)
    assert _numbers([next(look) for _ in range(700)]) == list(range(700))
    look.close()  # type: ignore[attr-defined]
    parked.wait_counts({DLQ: MANY})
    assert sorted(_numbers(list(admin.browse(DLQ)))) == list(range(MANY))


def test_what_is_looked_at_stays_in_order(bench: Bench) -> None:
    _park(bench, 400)
    admin = bench.admin()
    for _ in range(3):
        assert _numbers(list(admin.browse(DLQ))) == list(range(400))


def test_the_same_admin_counts_while_it_looks(parked: Bench) -> None:
    admin = parked.admin()
    for _, number in zip(admin.browse(DLQ), range(300), strict=False):
        if number % 100 == 0:
            assert admin.stats([QUEUE])[QUEUE].messages == 0


def test_what_is_chosen_is_removed_and_the_rest_stays_in_order(bench: Bench) -> None:
    _park(bench, 600)
    admin = bench.admin()
    assert admin.remove(DLQ, lambda one: _numbers([one])[0] % 3 == 0) == 200
    assert _numbers(list(admin.browse(DLQ))) == [n for n in range(600) if n % 3]
    assert admin.remove(DLQ, lambda one: True, 10) == 10
    bench.wait_counts({DLQ: 390})


def test_a_queue_that_does_not_exist_is_named(bench: Bench) -> None:
    for call in (
        lambda admin: list(admin.browse("shop.missing")),
        lambda admin: admin.remove("shop.missing", lambda one: True),
        lambda admin: admin.transfer("shop.missing", _everything, "shop.missing"),
    ):
        with pytest.raises(UnknownName, match=r"shop\.missing"):
            call(bench.admin())


class Paced:
    """A pace that looks at the queues whenever it is asked."""

    def __init__(self, bench: Bench, size: int, batches: int) -> None:
        self.done = 0
        self._bench = bench
        self._size = size
        self._batches = batches

    def next_batch(self, most: int) -> int:
        # Nothing is under way: all that was moved is there, and counted.
        assert self._bench.counts(QUEUE) == [self.done]
        if not self._batches:
            raise OperationInterrupted("enough")
        self._batches -= 1
        return min(most, self._size)

    def advance(self, done: int) -> None:
        self.done += done


def test_a_transfer_goes_batch_by_batch_with_nothing_under_way_between(parked: Bench) -> None:
    pace = Paced(parked, 60, 5)
    with pytest.raises(OperationInterrupted):
        parked.admin().transfer(DLQ, _everything, QUEUE, pace=pace)
    assert pace.done == 300
    parked.wait_counts({QUEUE: 300, DLQ: MANY - 300})
    # It is taken up again where it was left.
    admin = parked.admin()
    assert admin.transfer(DLQ, _everything, QUEUE) == MANY - 300
    assert sorted(_numbers(list(admin.browse(QUEUE)))) == list(range(MANY))


def test_a_pace_counts_what_was_moved_before_a_decision_failed(parked: Bench) -> None:
    pace = Paced(parked, 100, 100)

    def decide(one: Message) -> Message:
        if _numbers([one]) == [250]:
            raise RuntimeError("undecided")
        return one

    with pytest.raises(RuntimeError, match="undecided"):
        parked.admin().transfer(DLQ, decide, QUEUE, pace=pace)
    assert pace.done == 250
    parked.wait_counts({QUEUE: 250, DLQ: MANY - 250})


def test_what_two_transfers_move_at_the_same_time_is_moved_once(parked: Bench) -> None:
    admins = [parked.admin(), parked.admin()]
    moved = [0, 0]

    def work(index: int) -> None:
        moved[index] = admins[index].transfer(DLQ, _everything, QUEUE)

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # One may end while the other still holds some; a third finds what that gave back.
    total = sum(moved) + parked.admin().transfer(DLQ, _everything, QUEUE)
    assert total == MANY
    assert sorted(_numbers(list(parked.admin().browse(QUEUE)))) == list(range(MANY))
    parked.wait_counts({DLQ: 0})


def test_nothing_is_held_for_long(parked: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a broker's consumer_timeout ends a slow transfer."""
    monkeypatch.setattr(moving, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(moving, "WINDOW", 50)

    def even(one: Message) -> Message | None:
        return one if _numbers([one])[0] % 2 == 0 else None

    admin = parked.admin()
    assert admin.transfer(DLQ, even, QUEUE) == MANY // 2
    assert sorted(_numbers(list(admin.browse(QUEUE)))) == list(range(0, MANY, 2))
    assert sorted(_numbers(list(admin.browse(DLQ)))) == list(range(1, MANY, 2))


def test_what_is_parked_meanwhile_is_not_moved_by_the_same_transfer(parked: Bench) -> None:
    publisher = parked.publisher()
    late = iter(range(MANY, MANY + 5))

    def decide(one: Message) -> Message:
        for number in late:
            publisher.publish([message(number)], queue=DLQ).result(30)
            break
        return one

    assert parked.admin().transfer(DLQ, decide, QUEUE) == MANY
    assert _numbers(list(parked.admin().browse(DLQ))) == list(range(MANY, MANY + 5))


def test_large_messages_are_moved_in_small_batches(bench: Bench) -> None:
    bench.declare("#")
    large = [Message(bytes([n]) * 900_000, "order.paid") for n in range(40)]
    publisher = bench.publisher()
    for one in large:
        publisher.publish([one], queue=DLQ).result(60)
    batches: list[int] = []

    class Counting:
        def next_batch(self, most: int) -> int:
            return most

        def advance(self, done: int) -> None:
            batches.append(done)

    assert bench.admin().transfer(DLQ, _everything, QUEUE, pace=Counting()) == 40
    assert max(batches) <= 20
    assert bodies(list(bench.admin().browse(QUEUE))) == [one.body for one in large]
