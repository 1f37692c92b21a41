"""When the handler that a child runs must have ended: written by the child, read by its parent.

A few bytes of shared memory and not a message: a handler that keeps the interpreter to itself lets
the child send nothing, and this has been written before it began.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_value = struct.Struct("d")


class SharedDeadline:
    """A time of `time.monotonic`, which is the same clock in all processes; 0 for none."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, mmap.PAGESIZE)

    @classmethod
    def create(cls) -> SharedDeadline:
        """A new one; its `fd` is what a child needs."""
        with tempfile.TemporaryFile() as file:
            file.truncate(mmap.PAGESIZE)
            return cls(os.dup(file.fileno()))

    def set(self, at: float) -> None:
        """What runs now must have ended at `at`."""
        _value.pack_into(self._memory, 0, at)

    def clear(self) -> None:
        """Nothing runs that has a limit."""
        _value.pack_into(self._memory, 0, 0.0)

    def get(self) -> float:
        """The deadline, 0 for none."""
        value: float = _value.unpack_from(self._memory, 0)[0]
        return value

    def forget_fd(self) -> None:
        """Close `fd`; the memory stays."""
        os.close(self.fd)

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
