"""Event ids: UUIDv7 (RFC 9562 §5.7), which sort by the time they were made."""

from __future__ import annotations

import os
import threading
import time
import uuid

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def new_event_id() -> uuid.UUID:
    """Return a new UUIDv7; within one process each is greater than the one before.

    The 12 bits beside the millisecond are a counter with a random start (RFC 9562 §6.2, method 1),
    the other 62 bits are random.
    """
    global _last_ms, _counter
    random = int.from_bytes(os.urandom(9), "big")
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms = now_ms
            # Start in the lower half, so that the counter has room to grow.
            _counter = random >> 62 & 0x7FF
        else:
            _counter += 1
            if _counter > 0xFFF:
                _last_ms += 1
                _counter = 0
        milliseconds, counter = _last_ms, _counter
    value = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | counter << 64
        | 0b10 << 62
        | random & 0x3FFF_FFFF_FFFF_FFFF
    )
    return uuid.UUID(int=value)
