"""Who may talk to the registry.

With a token: whoever has it. Without one: whoever can reach the address, but no web page that a
browser on this machine happens to show. A page may send requests to 127.0.0.1 under a name of its
own that it lets point there (DNS rebinding), or across origins; both can be told by their headers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from eventbus.contracts.registry.refusals import Malformed
from eventbus.contracts.registry.server.errors import Forbidden, Unauthorized
from eventbus.errors import ConfigurationError
from eventbus.printable import printable

#: What can be guessed is no token.
TOKEN_MIN_LENGTH = 16

#: What the browser says of itself.
_SAME = ("same-origin", "none")


class Guard:
    """Decides from a request's headers whether it is answered.

    Parameters
    ----------
    token:
        What a request must have: as a bearer token, or as the password of HTTP basic
        authentication with any user name.
    hosts:
        Names, beside addresses and names without a dot, that a request without a token may be
        addressed to.

    Raises
    ------
    ConfigurationError
        The token is too short, or has characters that no header can hold.
    """

    def __init__(self, token: str | None = None, hosts: Iterable[str] = ()) -> None:
        self._token = None if token is None else _checked(token).encode()
        self._hosts = {host.lower().rstrip(".") for host in hosts}

    @property
    def has_token(self) -> bool:
        """Whether a request needs one."""
        return self._token is not None

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise unless a request with these headers is to be answered.

        Raises
        ------
        Malformed
            It is addressed to a name that is not ours.
        Forbidden
            A web page of another origin has sent it.
        Unauthorized
            It has no token, or another one.
        """
        if self._token is not None:
            if not self._has_token(headers.get("authorization", "")):
                raise Unauthorized(
                    "give the registry's token: as 'Authorization: Bearer TOKEN', or as the "
                    "password of basic authentication"
                )
            return
        host = headers.get("host", "")
        if not self._is_ours(host):
            raise Malformed(
                f"this registry is not called {printable(host[:100])!r}; it is reached by its "
                f"address, or by a name given with --allow-host"
            )
        if _foreign(headers, host):
            raise Forbidden("web pages of other origins may not use this registry")

    def _has_token(self, authorization: str) -> bool:
        scheme, _, credentials = authorization.strip().partition(" ")
        given = credentials.strip().encode("utf-8", "replace")
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            given = b""
        assert self._token is not None
        # In the same time wherever the first difference is.
        return hmac.compare_digest(given, self._token)

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        # No web page has an origin whose name is an address or has no dot, unless it is ours.
        return bool(name) and ("." not in name or name in self._hosts or _is_address(name))


def is_loopback(host: str) -> bool:
    """Whether what listens at `host` is reached from this machine only."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    addresses = {str(address[0]).partition("%")[0] for *_, address in found}
    return bool(host) and all(ipaddress.ip_address(one).is_loopback for one in addresses)


def _checked(token: str) -> str:
    if len(token) < TOKEN_MIN_LENGTH:
        raise ConfigurationError(
            f"the registry's token has {len(token)} characters; give at least {TOKEN_MIN_LENGTH}, "
            f"such as those that 'openssl rand -hex 32' makes"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            "the registry's token may have letters, digits and punctuation of ASCII, no blanks"
        )
    return token


def _password(credentials: bytes) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _foreign(headers: Mapping[str, str], host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _SAME:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != host.lower()
