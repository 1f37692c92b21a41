"""`import eventbus` stays light: a web process that only publishes loads no more than it needs."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: Of processor time, which other processes on the machine do not lengthen; generous.
LONGEST_SECONDS = 0.150

HEAVY = ("amqp", "asyncio", "click", "django", "flask", "kombu", "pika", "psycopg", "redis", "rich",
         "sqlalchemy")  # fmt: skip


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


def test_importing_eventbus_loads_neither_broker_nor_database_nor_framework() -> None:
    assert python(f"import sys, eventbus; print(*({set(HEAVY)!r} & set(sys.modules)))") == ""


def test_declaring_events_and_handlers_loads_nothing_either() -> None:
    declared = (
        "import sys; from eventbus import Event, EventBus\n"
        "class Paid(Event, name='order.paid'): order_id: int\n"
        "bus = EventBus('shop')\n"
        "@bus.handler('order.paid')\n"
        "def charge(event): ...\n"
        f"print(*({set(HEAVY)!r} & set(sys.modules)))"
    )
    assert python(declared) == ""


def test_importing_eventbus_is_quick() -> None:
    measure = (
        "import time; t = time.process_time(); import eventbus; print(time.process_time() - t)"
    )
    seconds = [float(python(measure)) for _ in range(5)]
    assert statistics.median(seconds) < LONGEST_SECONDS, seconds


def test_the_recorder_is_there_when_it_is_asked_for() -> None:
    import eventbus
    from eventbus.outbox.recorder import RecordsEvents

    assert eventbus.RecordsEvents is RecordsEvents
    assert all(hasattr(eventbus, name) for name in eventbus.__all__)
