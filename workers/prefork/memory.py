"""The memory of this process."""

from __future__ import annotations

import os
import resource
import sys


def resident_bytes() -> int:
    """Bytes of it that are in memory now; where only that is known, the most there ever were."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
