"""Where the broker is, read from its URL, and what went wrong there, in words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from eventbus.errors import ConfigurationError
from eventbus.settings import mask

_PORTS = {"amqp": 5672, "amqps": 5671}
_OPTIONS = ("cacertfile", "certfile", "keyfile", "heartbeat", "connection_timeout")

#: Seconds without a sign of life after which a connection counts as dead. Half of RabbitMQ's
#: default: a worker on a dead connection handles nothing.
HEARTBEAT_SECONDS = 30
#: Seconds that opening a connection may take, name resolution and TLS included.
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Address:
    """One host of a broker URL, with the login to use there.

    Parameters
    ----------
    tls:
        Whether the URL is ``amqps://``: certificate chain and host name are then verified.
    cacertfile, certfile, keyfile:
        Files of the certificate authority and of the client's own certificate; from the URL's
        query, under the names that RabbitMQ's URI specification gives them.
    heartbeat_seconds, connect_seconds:
        From the query's ``heartbeat`` and ``connection_timeout`` (seconds).
    """

    host: str
    port: int
    user: str
    password: str
    vhost: str
    tls: bool
    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    heartbeat_seconds: int = HEARTBEAT_SECONDS
    connect_seconds: float = CONNECT_SECONDS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Address {self.user}@{self} vhost={self.vhost!r} tls={self.tls}>"

    def ssl_context(self) -> ssl.SSLContext:
        """A context that verifies the certificate chain and the host name.

        Raises
        ------
        ConfigurationError
            A certificate file of the URL cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.cacertfile)
            if self.certfile:
                context.load_cert_chain(self.certfile, self.keyfile)
        except (OSError, ssl.SSLError) as error:
            files = [name for name in (self.cacertfile, self.certfile, self.keyfile) if name]
            raise ConfigurationError(
                f"a certificate file of the broker URL cannot be used ({', '.join(files)}): {error}"
            ) from None
        return context


def parse_addresses(url: str) -> tuple[Address, ...]:
    """The hosts of `url`: ``amqp://user:password@host:5672/vhost``, several separated by ``;``.

    Raises
    ------
    ConfigurationError
        A part is no AMQP URL or has an option that is not known; passwords are masked.
    """
    return tuple(_parse(part.strip()) for part in url.split(";") if part.strip())


def _parse(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"broker URL {mask(url)!r} is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ConfigurationError(
            f"broker URL {mask(url)!r} has the scheme {parts.scheme!r}; use amqp:// or amqps://"
        )
    options = dict(parse_qsl(parts.query))
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise ConfigurationError(
            f"broker URL {mask(url)!r} has the unknown option {unknown[0]!r}; "
            f"known: {', '.join(_OPTIONS)}"
        )
    return Address(
        host=parts.hostname or "localhost",
        port=port or _PORTS[scheme],
        user="guest" if parts.username is None else unquote(parts.username),
        password="guest" if parts.password is None else unquote(parts.password),
        vhost=unquote(parts.path[1:]) or "/",
        tls=scheme == "amqps",
        cacertfile=options.get("cacertfile"),
        certfile=options.get("certfile"),
        keyfile=options.get("keyfile"),
        heartbeat_seconds=_seconds(url, options, "heartbeat", HEARTBEAT_SECONDS),
        connect_seconds=_seconds(url, options, "connection_timeout", int(CONNECT_SECONDS)),
    )


def _seconds(url: str, options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise ConfigurationError(
            f"broker URL {mask(url)!r}: {name}={text!r} is not a number of seconds, 1 to 65535"
        )
    return int(text)


def explain(error: BaseException, address: Address) -> str:
    """Why `address` could not be reached or was lost: one sentence, without a password.

    Understands the errors of pika and of py-amqp, both of which wrap what happened in layers of
    their own.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _explain_tls(cause, address)
    text = " ".join(str(cause) for cause in causes)
    names = {type(cause).__name__ for cause in causes}
    if ("ACCESS_REFUSED" in text and "ogin" in text) or "ProbableAuthenticationError" in names:
        return f"{address} refused the login of user {address.user!r}: wrong user or password"
    if "vhost" in text and "not found" in text:
        return f"{address} has no virtual host {address.vhost!r}; create it, or correct the URL"
    if "NOT_ALLOWED" in text or "ProbableAccessDeniedError" in names:
        return (
            f"{address} does not let user {address.user!r} into the virtual host "
            f"{address.vhost!r}; grant the user permissions there"
        )
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"the host name {address.host!r} cannot be resolved"
        if isinstance(cause, ConnectionRefusedError):
            return f"connection to {address} refused: no broker listens there"
        if isinstance(cause, TimeoutError):
            return f"{address} did not answer within {address.connect_seconds:g} s"
    return _explain_loss(causes, names, address)


def _explain_tls(error: ssl.SSLError, address: Address) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        if error.verify_code in (62, 64):  # host name or address mismatch
            return f"the TLS certificate of {address} is for another host name: {reason}"
        if error.verify_code in (2, 18, 19, 20, 21):
            return (
                f"the TLS certificate of {address} is signed by an unknown authority ({reason}); "
                f"name its file with ?cacertfile= in the broker URL"
            )
        return f"the TLS certificate of {address} is not valid: {reason}"
    text = str(error)
    if "WRONG_VERSION_NUMBER" in text or "UNEXPECTED_EOF" in text or "RECORD_LAYER" in text:
        return f"{address} does not speak TLS; use amqp:// or the port for amqps://"
    return f"TLS with {address} failed: {error.reason or text}"


def _explain_loss(causes: list[BaseException], names: set[str], address: Address) -> str:
    if "IncompatibleProtocolError" in names:
        return f"{address} does not speak AMQP 0-9-1 in the clear; is it a TLS port (amqps://)?"
    if "AMQPHeartbeatTimeout" in names:
        return f"{address} gave no sign of life for {address.heartbeat_seconds} s"
    if "AMQPConnectorStackTimeout" in names:
        return f"{address} did not answer within {address.connect_seconds:g} s"
    if "ConnectionBlockedTimeout" in names:
        return f"{address} blocked the connection for too long (memory or disk alarm)"
    for cause in reversed(causes):
        text = getattr(cause, "reply_text", None)
        if text:
            return f"{address} closed the connection: {text}"
    detail = next((str(cause) for cause in reversed(causes) if str(cause)), names.pop())
    return f"the connection to {address} broke: {mask(detail) if '://' in detail else detail}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and what it wraps, outermost first."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        one = pending.pop(0)
        if isinstance(one, (tuple, list)):
            pending += one
        elif isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            pending += [
                getattr(one, "exceptions", ()),
                getattr(one, "exception", None),
                one.args,
                one.__cause__,
            ]
