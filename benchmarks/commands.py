"""The dispatcher and the worker as an operator starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from .application import STAMPS_VARIABLE, WORK_VARIABLE
from .process import running
from .servers import Place

APPLICATION = "benchmarks.application:bus"


def eventbus(
    place: Place, stamps: Path, *arguments: str, work: int = 0
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """``eventbus -A ... <arguments>`` in a process that ends with the block.

    Parameters
    ----------
    stamps:
        Where the handler notes its calls; see `benchmarks.application`.
    work:
        Turns of the loop that the handler computes.
    """
    script = Path(sys.executable).with_name("eventbus")
    command = [sys.executable, str(script), "-A", APPLICATION, *arguments]
    environment = {
        **os.environ,
        **place.environment(),
        STAMPS_VARIABLE: str(stamps),
        WORK_VARIABLE: str(work),
        "EVENTBUS_LOG_LEVEL": "warning",
    }
    return running(command, environment)
