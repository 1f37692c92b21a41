"""Puts tasks into the queue of Celery or Dramatiq, as their own producers do it."""

from __future__ import annotations

from typing import Any

from ..process import answer, given
from ..workload import events


def main(contestant: str, count: int) -> None:
    """Send `count` events."""
    (_celery if contestant == "celery" else _dramatiq)(count)
    answer(sent=count)


def _celery(count: int) -> None:
    from .prefork_celery import app, handler
    from .worker_celery import fill

    fill(app, handler, count)


def _dramatiq(count: int) -> None:
    from .prefork_dramatiq import handler

    for event in events(count):
        handler.send(_plain(event.__wire__()))


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value if isinstance(value, int) else str(value) for name, value in data.items()}


if __name__ == "__main__":
    main(**given())
