"""Handlers are called in a context of their own, on the thread or the loop that is theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Context, Event, EventBus
from eventbus.brokers.port import Delivery
from eventbus.context import current_context
from eventbus.contracts.receiving import Receiving
from eventbus.errors import SoftTimeLimitExceeded
from eventbus.message import Message
from eventbus.outcome import Ack, RetryAfter
from eventbus.workers.execution.event_loop import EventLoop
from eventbus.workers.execution.interruption import Interrupter
from eventbus.workers.execution.invocation import Invocation
from eventbus.workers.execution.time_limits import Clock, TimeLimits
from eventbus.workers.pipeline import Invoker, open_works
from eventbus.workers.work import Job


class Called(Event, name="invocation.called"):
    number: int


class Returned(Event, name="invocation.returned"):
    number: int


bus = EventBus("invocation")
seen: list[tuple[int, str, str]] = []


def _see(number: int) -> None:
    context = current_context.get()
    assert context is not None
    seen.append((number, context.event_id, threading.current_thread().name))


@bus.handler(Called, queue="called")
async def called(event: Called, context: Context) -> None:
    await asyncio.sleep(0.01 * (event.number % 3))
    # Also a task that the handler starts knows whose it is.
    await asyncio.create_task(_nested(event.number))
    assert current_context.get() is context


async def _nested(number: int) -> None:
    await asyncio.sleep(0)
    _see(number)


@bus.handler(Returned, queue="returned")
def returned(event: Returned) -> Any:
    if event.number < 0:
        return asyncio.sleep(20)
    return _nested(event.number)


def _job(event: str, number: int) -> Job:
    attributes = {"specversion": "1.0", "id": f"id-{number}", "source": "shop", "type": event}
    headers = {f"cloudEvents_{name}": value for name, value in attributes.items()}
    message = Message(
        routing_key=event,
        body=b'{"number": %d}' % number,
        headers=headers,
        content_type="application/json",
    )
    queue = f"invocation.{event.split('.')[1]}"
    subscriptions = {queue: bus.subscription(queue)}
    [work] = open_works([Delivery(queue, number, message)], subscriptions, Receiving(bus))
    [job] = work.jobs
    assert job.outcome is None, job.outcome
    return job


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    """The event loop of a worker."""
    seen.clear()
    loop = EventLoop()
    yield loop
    assert loop.close(10)


def test_each_of_many_coroutines_has_its_own_context_also_in_its_tasks(loop: EventLoop) -> None:
    invoker = Invoker(bus, Invocation(loop))
    jobs = [_job("invocation.called", number) for number in range(30)]
    running = [asyncio.run_coroutine_threadsafe(invoker.run_async(job), loop.get()) for job in jobs]
    for future in running:
        future.result(20)
    assert [type(job.outcome) for job in jobs] == [Ack] * 30
    assert {(number, event_id) for number, event_id, _thread in seen} == {
        (number, f"id-{number}") for number in range(30)
    }
    assert {thread for _number, _id, thread in seen} == {"eventbus-coroutines"}


def test_what_a_plain_function_returns_is_awaited_on_the_loop_in_its_context(
    loop: EventLoop,
) -> None:
    job = _job("invocation.returned", 7)
    Invoker(bus, Invocation(loop)).run(job)
    assert isinstance(job.outcome, Ack)
    assert seen == [(7, "id-7", "eventbus-coroutines")]


def test_a_soft_limit_ends_what_a_plain_function_waits_for_on_the_loop(loop: EventLoop) -> None:
    limits = TimeLimits(timedelta(seconds=0.1))
    job = _job("invocation.returned", -1)
    Invoker(bus, Invocation(loop, limits, Interrupter(Clock()))).run(job)
    assert isinstance(job.outcome, RetryAfter)
    assert isinstance(job.error, SoftTimeLimitExceeded)
