"""What parent and child tell each other: JSON lines over a socket.

The end of the stream says that the other process is gone, however it ended.

| from the child | |
|---|---|
| ``running`` | it consumes |
| ``report`` | its `Report`, about once a second |
| ``leaving`` | it finishes what it does and ends on purpose: ``why`` |
| ``failed`` | it cannot run: ``error``, ``message`` |
| ``ending`` | it ends, with ``exit_code`` |

| from the parent | |
|---|---|
| ``paused`` | the ``queues`` that are paused now |
| ``start`` | its ``assignment``, the first of all |
| ``drain`` | finish what runs, then end; ``for_good`` within the shutdown time-out |
| ``stop_now`` | give back what is unfinished, and end |
| ``dump_stacks`` | write them to the log |
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

#: A peer that takes nothing for so long hangs.
SEND_SECONDS = 2.0

Message = dict[str, Any]


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        end.settimeout(SEND_SECONDS)
        self._end = end
        self._sending = threading.Lock()
        self._received = b""

    def fileno(self) -> int:
        """For `select`."""
        return self._end.fileno()

    def send(self, kind: str, **values: Any) -> bool:
        """Send a message, from any thread; whether the other end takes it."""
        line = json.dumps({"kind": kind, **values}).encode() + b"\n"
        with self._sending:
            try:
                self._end.sendall(line)
            except OSError:
                return False
            return True

    def receive(self) -> list[Message]:
        """Read once; the messages that are complete.

        Raises
        ------
        EOFError
            The other process is gone.
        """
        try:
            read = self._end.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            read = b""
        if not read:
            raise EOFError
        *lines, self._received = (self._received + read).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._end.close()
