"""``eventbus dlq replay`` as an operator runs it; answers how long it took and what it held."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eventbus.cli import main as eventbus

from ..errors import BenchmarkFailed
from ..process import answer, given
from ..workload import make_bus


def main(arguments: Sequence[str], **settings: Any) -> None:
    """Run the command with `arguments` to its end."""
    output = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        eventbus(["dlq", "replay", "--yes", "--json", *arguments], bus=make_bus(**settings))
    seconds = time.perf_counter() - began
    replayed = json.loads(output.getvalue())["replayed"]
    answer(replayed=replayed, seconds=seconds, peak_mib=_peak_mib())


def _peak_mib() -> float:
    """The most that this process has held; what getrusage says includes its parent's share."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise BenchmarkFailed("/proc/self/status says nothing of VmHWM")


if __name__ == "__main__":
    main(**given())
