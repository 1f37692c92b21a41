"""An application as the command line runs it: ``eventbus -A benchmarks.application:bus worker``.

Its handler writes each event's number and the time to the file in BENCHMARK_STAMPS, at once, so
that whoever reads along knows when it ran. With BENCHMARK_WORK it computes before: so many turns of
an empty loop.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from .workload import OrderPaid, make_bus

STAMPS_VARIABLE = "BENCHMARK_STAMPS"
WORK_VARIABLE = "BENCHMARK_WORK"

#: Number of the event, epoch nanoseconds.
_stamp = struct.Struct("<qq")
_file = os.open(os.environ.get(STAMPS_VARIABLE, os.devnull), os.O_WRONLY | os.O_APPEND)
_work = int(os.environ.get(WORK_VARIABLE, "0"))


def stamp(event: OrderPaid) -> None:
    """Write down that this event's handler has run."""
    stamp_number(event.number)


def stamp_number(number: int) -> None:
    """The same for other contestants."""
    for _turn in range(_work):
        pass
    os.write(_file, _stamp.pack(number, time.time_ns()))


def read_stamps(path: Path) -> list[tuple[int, int]]:
    """Number and epoch nanoseconds of each handler call so far, in order."""
    return list(_stamp.iter_unpack(path.read_bytes()))


bus = make_bus(stamp)
