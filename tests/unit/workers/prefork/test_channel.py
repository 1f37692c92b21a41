"""What parent and child say to each other arrives whole, and an end is seen."""

from __future__ import annotations

import socket

import pytest

from eventbus.errors import BrokerUnavailable, EventBusError
from eventbus.workers.prefork.channel import Channel
from eventbus.workers.prefork.deadline import SharedDeadline
from eventbus.workers.prefork.places import end_of, failure_of


def test_messages_arrive_in_order_also_in_pieces() -> None:
    end, other = socket.socketpair()
    channel = Channel(other)
    end.sendall(b'{"kind": "a", "n": 1}\n{"kind"')
    assert channel.receive() == [{"kind": "a", "n": 1}]
    end.sendall(b': "b"}\n{"kind": "c"}\n')
    assert [message["kind"] for message in channel.receive()] == ["b", "c"]


def test_the_end_of_the_other_process_is_an_end_of_file() -> None:
    end, other = socket.socketpair()
    end.close()
    channel = Channel(other)
    with pytest.raises(EOFError):
        channel.receive()
    assert not channel.send("drain")


def test_what_was_sent_before_the_end_is_still_read() -> None:
    end, other = socket.socketpair()
    Channel(end).send("ending", exit_code=0)
    end.close()
    channel = Channel(other)
    assert channel.receive() == [{"kind": "ending", "exit_code": 0}]
    with pytest.raises(EOFError):
        channel.receive()


def test_a_deadline_is_seen_through_another_map_of_the_same_memory() -> None:
    ours = SharedDeadline.create()
    theirs = SharedDeadline(ours.fd)
    assert ours.get() == 0.0
    theirs.set(12.5)
    assert ours.get() == 12.5
    theirs.clear()
    assert ours.get() == 0.0


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (-11, "by SIGSEGV"),
        (-9, "by SIGKILL"),
        (-99, "by signal 99"),
        (3, "with exit code 3"),
        (None, "nobody knows how"),
    ],
)
def test_the_end_of_a_process_in_words(status: int | None, text: str) -> None:
    assert end_of(status) == text


def test_a_childs_failure_keeps_its_class_and_with_it_its_exit_code() -> None:
    error = failure_of({"error": "BrokerUnavailable", "message": "away"})
    assert (type(error), str(error), error.exit_code) == (BrokerUnavailable, "away", 3)
    assert type(failure_of({"error": "Path", "message": "?"})) is EventBusError
    assert type(failure_of({"error": "KeyError", "message": "?"})) is EventBusError
