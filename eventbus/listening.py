"""The address that a server of ours listens at."""

from __future__ import annotations

import errno
import socket
from typing import Any

from eventbus.errors import ConfigurationError, EventBusError


class PortUnavailable(EventBusError):
    """The address cannot be listened at."""


def bound_socket(host: str, port: int, options: str = "--") -> socket.socket:
    """A socket bound to one address, so that a server makes one listener and not one for each.

    Parameters
    ----------
    port:
        0 lets the system choose.
    options:
        What the options for host and port begin with, for errors: ``--`` or ``--health-``.

    Raises
    ------
    PortUnavailable
        Something listens there already, or it is no address of this machine.
    ConfigurationError
        `host` is no address at all.
    """
    family, address = _resolved(host, port, options)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise PortUnavailable(_why_not(host, port, error, options)) from error
    return listener


def _resolved(host: str, port: int, options: str) -> tuple[socket.AddressFamily, Any]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"{options}host {host!r} is no address: {error}; give 127.0.0.1, or 0.0.0.0 for "
            f"every network of this machine"
        ) from error
    return found[0][0], found[0][4]


def _why_not(host: str, port: int, error: OSError, options: str) -> str:
    address = f"{host}:{port}"
    given = f"{options}port {port}"
    if error.errno == errno.EADDRINUSE:
        return f"{given}: something listens at {address} already; give another port"
    if error.errno == errno.EACCES:
        return f"{given}: this user may not listen at {address}; give a port from 1024"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{options}host {host}: no address of this machine; give 127.0.0.1 or 0.0.0.0"
    return f"{given}: cannot listen at {address}: {error.strerror or error}"
