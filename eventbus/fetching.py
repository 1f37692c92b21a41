"""What one run of a handler has fetched: each thing once, however many ask for it at a time.

A run begins with nothing, so a retry asks anew. A failure is told to all who wait for it, and not
remembered; that something is gone is an answer like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventbus.django import project
from eventbus.errors import DeclarationError
from eventbus.injection import bind, bind_async
from eventbus.sources import Gone, Source

if TYPE_CHECKING:
    from eventbus.context import Context
    from eventbus.event import Event
    from eventbus.references import Ref

#: How long a thread waits at a stretch, so that a time limit can interrupt it between two.
_SLICE_SECONDS = 0.2

#: A source and the identifier that it is asked for.
_Key = tuple[str, object]

#: What is being fetched here, the outermost first: a source may ask another one.
_open: contextvars.ContextVar[tuple[_Key, ...]] = contextvars.ContextVar(
    "eventbus_fetching", default=()
)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a source said: a value, or an error."""

    value: Any
    error: Exception | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


#: Who was to ask has been interrupted; whoever waits asks itself.
_ABANDONED = _Answer(None)


def fetch(context: Context, of: Event | Ref | str, id: object = None) -> Any:
    """See `eventbus.Context.fetch`."""
    source, identifier = context.bus.source_of(of, id)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return context.fetches.fetch(context, source, identifier)
    return context.fetches.fetch_async(context, source, identifier)


class Fetches:
    """The answers of the sources in one run of a handler."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[_Key, Future[_Answer]] = {}

    def fetch(self, context: Context, source: Source, identifier: Any) -> Any:
        """What `source` knows of `identifier`, for a handler that is a plain function."""
        key = (source.name, identifier)
        while True:
            future, mine = self._enter(key)
            if mine:
                with self._asking(key, future) as tell:
                    tell(_ask(context, source, identifier))
            answer = _waited(future)
            if answer is not _ABANDONED:
                return answer.result()

    async def fetch_async(self, context: Context, source: Source, identifier: Any) -> Any:
        """As `fetch`, for a coroutine."""
        key = (source.name, identifier)
        while True:
            future, mine = self._enter(key)
            if mine:
                with self._asking(key, future) as tell:
                    tell(await _ask_async(context, source, identifier))
            # Shielded: who is cancelled here takes nothing away from the others.
            answer = await asyncio.shield(asyncio.wrap_future(future))
            if answer is not _ABANDONED:
                return answer.result()

    def _enter(self, key: _Key) -> tuple[Future[_Answer], bool]:
        """The place of the answer, and whether it is the caller who has to find it."""
        chain = _open.get()
        if key in chain:
            asked = " asks ".join(repr(name) for name, _ in (*chain, key))
            raise DeclarationError(f"a source asks itself for the same thing: {asked}")
        with self._lock:
            future = self._answers.get(key)
            # Who is being waited for waits for nobody: two sources that ask each other would.
            if future is None or (chain and not future.done()):
                future = self._answers[key] = Future()
                return future, True
            return future, False

    @contextlib.contextmanager
    def _asking(self, key: _Key, future: Future[_Answer]) -> Iterator[Callable[[Any], None]]:
        token = _open.set((*_open.get(), key))
        answer = _ABANDONED

        def tell(found: Any) -> None:
            nonlocal answer
            answer = _Answer(found)

        try:
            yield tell
        except Gone as error:
            answer = _Answer(None, error)
        except Exception as error:
            answer = _Answer(None, error)
            self._forget(key, future)
        finally:
            _open.reset(token)
            if answer is _ABANDONED:
                self._forget(key, future)
            future.set_result(answer)

    def _forget(self, key: _Key, future: Future[_Answer]) -> None:
        with self._lock:
            if self._answers.get(key) is future:
                del self._answers[key]


def _waited(future: Future[_Answer]) -> _Answer:
    while True:
        with contextlib.suppress(FutureTimeoutError):
            return future.result(_SLICE_SECONDS)


# -- asking --------------------------------------------------------------------------------------


def _ask(context: Context, source: Source, identifier: Any) -> Any:
    """Run the source on this thread, or, where it is a coroutine, on the worker's event loop."""
    if source.is_coroutine:
        return _finished(context, _ask_async(context, source, identifier))
    call = bind(source, context.bus.dependencies, lambda returned: returned)
    try:
        found = call(identifier, context)
    except Gone as error:
        found = error
    return _existing(source, identifier, found)


def _finished(context: Context, asked: Coroutine[Any, Any, Any]) -> Any:
    """Await it on the worker's event loop, to which the clients of sources belong."""
    if context.loop is None:  # outside of a worker, as in a test of a handler
        return asyncio.run(asked)
    found: list[Any] = []

    async def keep() -> None:
        found.append(await asked)

    context.loop.wait(keep())
    return found[0]


async def _ask_async(context: Context, source: Source, identifier: Any) -> Any:
    """Run the source on this event loop, or, where it is a plain function, on a thread."""
    if not source.is_coroutine:
        return await _on_a_thread(_ask, context, source, identifier)
    call = bind_async(source, context.bus.dependencies)
    try:
        found = await call(identifier, context)
    except Gone as error:
        found = error
    return _existing(source, identifier, found)


def _existing(source: Source, identifier: Any, found: Any) -> Any:
    if found is None or isinstance(found, Gone):
        raise source.gone_error(identifier, found)
    return found


def _on_a_thread(function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
    """Run it where it holds up no coroutine; in Django on the thread that has the connections."""
    if project.configured():
        from asgiref.sync import sync_to_async

        awaited: Awaitable[Any] = sync_to_async(function)(*arguments)
        return awaited
    return asyncio.to_thread(function, *arguments)
