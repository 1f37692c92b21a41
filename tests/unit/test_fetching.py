"""`context.fetch`: each thing is asked for once in a run, whoever asks, on whichever thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from eventbus import Context, EventBus, Gone, Ref, Retry
from eventbus.envelope import Envelope
from eventbus.errors import DeclarationError
from eventbus.outcome import Ack, DeadLetter, RetryAfter
from tests.waiting import wait_until


@pytest.fixture
def bus() -> EventBus:
    return EventBus("shop")


@pytest.fixture
def make_context(bus: EventBus) -> Callable[[], Context]:
    """A new run of a handler."""
    return lambda: Context(bus, Envelope("1", "shop", "order.paid"), "react", "shop.q", 1, {})


def test_a_thing_is_asked_for_once_in_a_run_and_anew_in_the_next(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []

    @bus.source("order")
    def order(id: int) -> dict[str, int]:
        asked.append(id)
        return {"id": id}

    context = make_context()
    first = context.fetch("order", 1)
    assert context.fetch(Ref("order", 1)) is first
    assert context.fetch("order", "1") is first
    assert context.fetch("order", 2) == {"id": 2}
    assert asked == [1, 2]
    assert context.with_session(object()).fetch("order", 1) is first
    assert make_context().fetch("order", 1) is not first
    assert asked == [1, 2, 1]


def test_false_values_are_things(bus: EventBus, make_context: Callable[[], Context]) -> None:
    for number, value in enumerate((0, "", [], False)):
        bus.source(f"thing{number}")(lambda id, value=value: value)
        assert make_context().fetch(f"thing{number}", "x") == value


def test_a_failure_is_not_remembered(bus: EventBus, make_context: Callable[[], Context]) -> None:
    results: list[Any] = [ConnectionError("down"), "an order"]

    @bus.source("order")
    def order(id: int) -> str:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return str(result)

    context = make_context()
    with pytest.raises(ConnectionError, match="down"):
        context.fetch("order", 1)
    assert context.fetch("order", 1) == "an order"


def test_what_a_source_is_given(bus: EventBus, make_context: Callable[[], Context]) -> None:
    class Client:
        closed = False

    made: list[Client] = []

    @bus.source("order")
    def order(id: int, context: Context, client: Client) -> tuple[Any, ...]:
        assert not client.closed
        return id, context.event_id

    def client() -> Any:
        made.append(Client())
        yield made[-1]
        made[-1].closed = True

    bus.provide(Client, client)
    assert make_context().fetch("order", 1) == (1, "1")
    assert [one.closed for one in made] == [True]


# -- gone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "outcome"),
    [
        ("skip", Ack(skipped="order 1 is gone")),
        ("dead-letter", DeadLetter("order 1 is gone")),
        ("retry", RetryAfter(timedelta(seconds=1))),
    ],
)
def test_what_becomes_of_an_event_about_what_is_gone(
    bus: EventBus, make_context: Callable[[], Context], gone: str, outcome: object
) -> None:
    bus.source("order", gone=gone)(lambda id: None)
    with pytest.raises(Gone, match="order 1 is gone") as raised:
        make_context().fetch("order", 1)
    retry = Retry(backoff="fixed", delay=timedelta(seconds=1), jitter=0)
    assert retry.next(1, raised.value) == outcome


def test_a_source_may_say_more_and_its_own_words_are_kept(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    @bus.source("order")
    def order(id: int) -> None:
        raise Gone("its customer asked for it")

    @bus.source("parcel")
    async def parcel(id: int) -> None:
        raise Gone

    with pytest.raises(Gone) as raised:
        make_context().fetch("order", 1)
    assert Retry().next(1, raised.value) == Ack(
        skipped="order 1 is gone: its customer asked for it"
    )
    with pytest.raises(Gone, match=r"^parcel 2 is gone$"):
        make_context().fetch("parcel", 2)


def test_what_a_source_is_told_of_another_thing_stays_what_it_is(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    @bus.source("order")
    def order(id: int, context: Context) -> Any:
        return context.fetch("customer", 7)

    bus.source("customer", gone="dead-letter")(lambda id: None)
    with pytest.raises(Gone) as raised:
        make_context().fetch("order", 1)
    assert raised.value.thing == "customer 7"
    assert Retry().next(1, raised.value) == DeadLetter("customer 7 is gone")


def test_that_a_thing_is_gone_is_remembered(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []
    bus.source("order")(lambda id: asked.append(id))
    context = make_context()
    for _ in range(3):
        with pytest.raises(Gone):
            context.fetch("order", 1)
    assert len(asked) == 1


# -- coroutines and threads ----------------------------------------------------------------------


def test_coroutines_that_ask_at_the_same_time_share_one_answer(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []

    @bus.source("order")
    async def order(id: int) -> object:
        asked.append(id)
        await asyncio.sleep(0.01)
        return object()

    async def react() -> None:
        context = make_context()
        found = await asyncio.gather(*(context.fetch("order", n % 2) for n in range(20)))
        assert len(set(map(id, found))) == 2

    asyncio.run(react())
    assert sorted(asked) == [0, 1]


def test_coroutines_that_wait_share_a_failure_and_may_ask_again(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []

    @bus.source("order")
    async def order(id: int) -> str:
        asked.append(id)
        await asyncio.sleep(0.01)
        if len(asked) == 1:
            raise ConnectionError("down")
        return "an order"

    async def react() -> None:
        context = make_context()
        found = await asyncio.gather(
            *(context.fetch("order", 1) for _ in range(5)), return_exceptions=True
        )
        assert [type(one) for one in found] == [ConnectionError] * 5
        assert await context.fetch("order", 1) == "an order"

    asyncio.run(react())
    assert len(asked) == 2


def test_who_is_cancelled_takes_nothing_away_from_who_waits(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []

    @bus.source("order")
    async def order(id: int) -> str:
        asked.append(id)
        await asyncio.sleep(0.05)
        return "an order"

    async def react() -> None:
        context = make_context()
        asking, waiting, leaving = (
            asyncio.ensure_future(context.fetch("order", 1)) for _ in range(3)
        )
        await asyncio.sleep(0.01)
        leaving.cancel()
        asking.cancel()
        assert await waiting == "an order"
        assert asking.cancelled()
        assert leaving.cancelled()

    asyncio.run(react())
    assert len(asked) == 2


def test_a_plain_source_holds_up_no_coroutine(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    released = threading.Event()

    @bus.source("order")
    def order(id: int) -> int:
        assert released.wait(20)
        return threading.get_ident()

    async def react() -> None:
        context = make_context()
        asking = asyncio.ensure_future(context.fetch("order", 1))
        await asyncio.sleep(0)
        released.set()
        assert await asking != threading.get_ident()

    asyncio.run(react())


def test_a_plain_function_may_ask_a_coroutine(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    @bus.source("order")
    async def order(id: int) -> int:
        await asyncio.sleep(0)
        return id

    assert make_context().fetch("order", 1) == 1


def test_threads_that_ask_at_the_same_time_share_one_answer(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    asked: list[int] = []
    inside, released = threading.Event(), threading.Event()

    @bus.source("order")
    def order(id: int) -> object:
        asked.append(id)
        inside.set()
        assert released.wait(20)
        return object()

    context = make_context()
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(context.fetch, "order", 1) for _ in range(8)]
        assert inside.wait(20)
        released.set()
        assert len({id(answer.result(20)) for answer in answers}) == 1
    assert len(asked) == 1


# -- sources that ask sources --------------------------------------------------------------------


def test_a_source_may_ask_another(bus: EventBus, make_context: Callable[[], Context]) -> None:
    @bus.source("order")
    def order(id: int, context: Context) -> tuple[int, str]:
        return id, context.fetch("customer", 7)

    @bus.source("customer")
    async def customer(id: int, context: Context) -> str:
        return f"customer {id} " + await context.fetch("country", "DE")

    @bus.source("country")
    def country(id: str) -> str:
        return id

    async def react() -> Any:
        return await make_context().fetch("order", 1)

    expected = (1, "customer 7 DE")
    assert make_context().fetch("order", 1) == expected
    assert asyncio.run(react()) == expected


def test_a_source_that_asks_itself_is_told(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    @bus.source("order")
    def order(id: int, context: Context) -> Any:
        return context.fetch("customer", id)

    @bus.source("customer")
    async def customer(id: int, context: Context) -> Any:
        return await context.fetch("order", id)

    async def react() -> Any:
        return await make_context().fetch("order", 1)

    for ask in (lambda: make_context().fetch("order", 1), lambda: asyncio.run(react())):
        with pytest.raises(DeclarationError, match="'order' asks 'customer' asks 'order'"):
            ask()


def test_two_sources_that_ask_each_other_at_the_same_time_do_not_wait_for_ever(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    started: list[str] = []

    async def ask_other(context: Context, me: str, other: str, id: int) -> str:
        started.append(me)
        if id == 1:
            while len(started) < 2:
                await asyncio.sleep(0)
            return f"{me}+{await context.fetch(other, 2)}"
        return me

    @bus.source("a")
    async def a(id: int, context: Context) -> str:
        return await ask_other(context, "a", "b", id)

    @bus.source("b")
    async def b(id: int, context: Context) -> str:
        return await ask_other(context, "b", "a", id)

    async def react() -> None:
        context = make_context()
        asked: list[Awaitable[str]] = [context.fetch("a", 1), context.fetch("b", 1)]
        assert await asyncio.wait_for(asyncio.gather(*asked), 20) == ["a+b", "b+a"]

    asyncio.run(react())


def test_who_asks_within_a_source_waits_for_nobody(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    """Each of two chains holds what the other wants: waiting would never end."""
    both = asyncio.Event()
    inside: list[str] = []

    async def meet(name: str) -> None:
        inside.append(name)
        if len(inside) == 2:
            both.set()
        await both.wait()

    @bus.source("a")
    async def a(id: int, context: Context) -> str:
        await meet("a")
        return "a" if len(inside) > 2 else f"a {await context.fetch('b', 1)}"

    @bus.source("b")
    async def b(id: int, context: Context) -> str:
        await meet("b")
        return "b" if len(inside) > 2 else f"b {await context.fetch('a', 1)}"

    async def react() -> None:
        context = make_context()
        found = await asyncio.wait_for(
            asyncio.gather(context.fetch("a", 1), context.fetch("b", 1)), 20
        )
        assert found[0].startswith("a")
        assert found[1].startswith("b")

    asyncio.run(react())


def test_an_interrupted_thread_leaves_the_asking_to_others(
    bus: EventBus, make_context: Callable[[], Context]
) -> None:
    class Interrupted(BaseException):
        pass

    asked: list[int] = []
    inside, released = threading.Event(), threading.Event()

    @bus.source("order")
    def order(id: int) -> str:
        asked.append(id)
        if len(asked) == 1:
            inside.set()
            assert released.wait(20)
            raise Interrupted
        return "an order"

    context = make_context()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(context.fetch, "order", 1)
        assert inside.wait(20)
        second = threads.submit(context.fetch, "order", 1)
        wait_until(second.running)
        released.set()
        assert second.result(20) == "an order"
        assert isinstance(first.exception(20), Interrupted)
