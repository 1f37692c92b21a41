"""Free TCP ports that stay ours while a server is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Port:
    """A free TCP port of 127.0.0.1, reserved against other test runs until `release()`.

    The reservation is a UDP socket bound to the same number: it does not disturb the TCP server,
    and the kernel gives it back however this process ends. The number lies below the range from
    which the kernel takes the ports of outgoing connections: otherwise a client that keeps trying
    to reach a stopped server sooner or later takes that port for itself, and connects to itself.
    """

    def __init__(self) -> None:
        first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
        last = first_ephemeral - 1 if first_ephemeral > 16_000 else 32_000
        for _ in range(1000):
            number = random.randint(10_000, last)
            if reservation := _reserve(number):
                self.number = number
                self._reservation = reservation
                return
        raise OSError(f"no free port between 10000 and {last}")

    def release(self) -> None:
        self._reservation.close()

    def __str__(self) -> str:
        return str(self.number)


def _reserve(number: int) -> socket.socket | None:
    reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        reservation.bind(("127.0.0.1", number))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("0.0.0.0", number))
    except OSError:
        reservation.close()
        return None
    return reservation
