"""The memory of a family of processes."""

from __future__ import annotations

from pathlib import Path

import psutil


def proportional_mib(process: psutil.Process) -> float:
    """MiB of one process; of what several share each gets its part (PSS)."""
    for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no PSS of process {process.pid}")


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    """The processes that handle messages: those without children, beside helpers of Python's."""
    family = parent.children(recursive=True)
    return [
        one
        for one in family
        if not one.children() and "resource_tracker" not in " ".join(one.cmdline())
    ]
