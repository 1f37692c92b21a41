"""What an application publishes and consumes as an AsyncAPI 3 document.

From the application's side: it *sends* the events that are its own, and *receives* on its queues.
A message that it sends is described by the contract that it writes, one of another service by what
this application needs to read it. AMQP bindings 0.3.0; nothing outside the document is referred to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventbus.catalog.application import catalog_of, is_own
from eventbus.catalog.entries import Catalog, Consumer, EventEntry
from eventbus.contracts.formats import format_support
from eventbus.contracts.json_schema.derive import schema_of
from eventbus.contracts.json_schema.dialects import DRAFT_07
from eventbus.contracts.json_schema.views import reader_view
from eventbus.contracts.schema import Format
from eventbus.declared import record_of
from eventbus.errors import ConfigurationError

if TYPE_CHECKING:
    from eventbus.brokers.rabbitmq.address import Address
    from eventbus.bus import EventBus
    from eventbus.event import Event

#: Accepted spelling to the version that is written into the document.
VERSIONS = {"3.0": "3.0.0", "3.1": "3.1.0"}

_BINDING = "0.3.0"
_JSON_SCHEMA = "application/schema+json;version=draft-07"
_SCHEMA_FORMATS = {
    Format.AVRO: "application/vnd.apache.avro;version=1.9.0",
    Format.PROTOBUF: "application/vnd.google.protobuf;version=3",
}
#: CloudEvents 1.0.2 §3.1, and the extensions that eventbus writes: name, description, required.
_ATTRIBUTES = (
    ("specversion", "Always 1.0.", True),
    ("id", "Unique with the source; a copy of the event has the same.", True),
    ("source", "The service that publishes it.", True),
    ("type", "The event's name, and its routing key.", True),
    ("time", "When it was published, RFC 3339.", False),
    ("subject", "What it is about, within the source.", False),
    ("dataschema", "The contract that the data follow.", False),
    ("correlationid", "The id of the first event of the chain.", False),
    ("causationid", "The id of the event that caused this one.", False),
    ("partitionkey", "Events with the same key keep their order.", False),
    ("traceparent", "W3C Trace Context.", False),
)


def asyncapi_document(bus: EventBus, version: str = "3.0", release: str = "0") -> dict[str, Any]:
    """The document, as JSON values.

    Parameters
    ----------
    version:
        Of AsyncAPI: ``3.0`` or ``3.1``.
    release:
        Of the application, for ``info.version``.

    Raises
    ------
    ConfigurationError
        There is no such version.
    DeclarationError
        A field of an event has no form in a contract.
    """
    if version not in VERSIONS:
        raise ConfigurationError(
            f"AsyncAPI {version!r} cannot be written; use {' or '.join(VERSIONS)}"
        )
    return _Document(bus, catalog_of(bus)).build(VERSIONS[version], release)


class _Names:
    """Keys for names of all kinds: AsyncAPI's allow letters, digits, ``.``, ``-`` and ``_``."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], str] = {}
        self._taken: set[tuple[str, str]] = set()

    def of(self, kind: str, name: str) -> str:
        """The key of `name` among those of its `kind`, the same each time."""
        key = self._of.get((kind, name))
        if key is None:
            key = plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
            number = 2
            while (kind, key) in self._taken:
                key, number = f"{plain}_{number}", number + 1
            self._of[kind, name] = key
            self._taken.add((kind, key))
        return key


class _Document:
    def __init__(self, bus: EventBus, catalog: Catalog) -> None:
        self._bus = bus
        self._catalog = catalog
        self._names = _Names()
        addresses: tuple[Address, ...] = ()
        if not bus.settings.embedded:
            from eventbus.brokers.rabbitmq.address import parse_addresses

            addresses = parse_addresses(bus.settings.broker_url or "")
        self._addresses = addresses
        self._vhost = addresses[0].vhost if addresses else "/"

    def build(self, version: str, release: str) -> dict[str, Any]:
        messages = {
            self._names.of("message", event.name): self._message(event)
            for event in self._catalog.events
        }
        document: dict[str, Any] = {
            "asyncapi": version,
            "info": {
                "title": self._bus.service,
                "version": release,
                "description": (
                    "Events in CloudEvents 1.0 binary mode (AMQP protocol binding): attributes are "
                    "headers, the body is the event's data. Delivery is at least once."
                ),
            },
            "defaultContentType": "application/json",
        }
        if self._addresses:
            document["servers"] = dict(self._servers())
        document["channels"] = {**dict(self._event_channels()), **dict(self._queue_channels())}
        document["operations"] = {**dict(self._sends()), **dict(self._receives())}
        document["components"] = self._components(messages)
        return document

    def _components(self, messages: dict[str, Any]) -> dict[str, Any]:
        components: dict[str, Any] = {
            "schemas": {"cloudEventsHeaders": _headers()},
            "messages": messages,
        }
        if self._addresses:
            components["securitySchemes"] = {"login": {"type": "userPassword"}}
        return components

    # -- servers ------------------------------------------------------------------------------

    def _servers(self) -> Iterator[tuple[str, Any]]:
        for number, address in enumerate(self._addresses, start=1):
            yield (
                f"rabbitmq{number}",
                {
                    "host": str(address),
                    "protocol": "amqps" if address.tls else "amqp",
                    "protocolVersion": "0.9.1",
                    "pathname": "/" + quote(address.vhost, safe=""),
                    "security": [_ref("components", "securitySchemes", "login")],
                },
            )

    # -- channels -----------------------------------------------------------------------------

    def _own(self) -> list[EventEntry]:
        return [event for event in self._catalog.events if is_own(self._bus, event)]

    def _event_channels(self) -> Iterator[tuple[str, Any]]:
        for event in self._own():
            yield (
                self._names.of("channel", f"event {event.name}"),
                {
                    "address": _address(event.name),
                    "title": event.name,
                    **({"summary": event.summary} if event.summary else {}),
                    "messages": self._messages_of([event]),
                    "bindings": {
                        "amqp": {
                            "is": "routingKey",
                            "exchange": {
                                "name": self._bus.settings.exchange,
                                "type": "topic",
                                "durable": True,
                                "autoDelete": False,
                                "vhost": self._vhost,
                            },
                            "bindingVersion": _BINDING,
                        }
                    },
                },
            )

    def _queue_channels(self) -> Iterator[tuple[str, Any]]:
        for subscription in self._bus.subscriptions.values():
            handlers = [one for one in self._catalog.consumers if one.queue == subscription.queue]
            yield (
                self._names.of("channel", f"queue {subscription.queue}"),
                {
                    "address": _address(subscription.queue),
                    "title": subscription.queue,
                    "description": f"Bound to {', '.join(subscription.patterns)}.",
                    "messages": self._messages_of(self._taken_by(handlers)),
                    "bindings": {
                        "amqp": {
                            "is": "queue",
                            "queue": {
                                "name": subscription.queue,
                                "durable": True,
                                "exclusive": False,
                                "autoDelete": False,
                                "vhost": self._vhost,
                            },
                            "bindingVersion": _BINDING,
                        }
                    },
                },
            )

    def _taken_by(self, handlers: Iterable[Consumer]) -> list[EventEntry]:
        handlers = list(handlers)
        return [
            event
            for event in self._catalog.events
            if any(handler.takes(event.name) for handler in handlers)
        ]

    def _messages_of(self, events: Iterable[EventEntry]) -> dict[str, Any]:
        keys = [self._names.of("message", event.name) for event in events]
        return {key: _ref("components", "messages", key) for key in keys}

    # -- operations ---------------------------------------------------------------------------

    def _sends(self) -> Iterator[tuple[str, Any]]:
        for event in self._own():
            channel = self._names.of("channel", f"event {event.name}")
            yield (
                self._names.of("operation", f"publish.{event.name}"),
                {
                    "action": "send",
                    "channel": _ref("channels", channel),
                    "messages": self._references(channel, [event]),
                    "bindings": {
                        "amqp": {
                            "deliveryMode": 2,
                            "mandatory": True,
                            "timestamp": True,
                            "bindingVersion": _BINDING,
                        }
                    },
                },
            )

    def _receives(self) -> Iterator[tuple[str, Any]]:
        for handler in self._catalog.consumers:
            channel = self._names.of("channel", f"queue {handler.queue}")
            yield (
                self._names.of("operation", f"handle.{handler.handler}"),
                {
                    "action": "receive",
                    "channel": _ref("channels", channel),
                    "summary": f"Handler {handler.handler}, for {', '.join(handler.patterns)}.",
                    "messages": self._references(channel, self._taken_by([handler])),
                    "bindings": {"amqp": {"ack": True, "bindingVersion": _BINDING}},
                },
            )

    def _references(self, channel: str, events: Iterable[EventEntry]) -> list[dict[str, str]]:
        return [
            _ref("channels", channel, "messages", self._names.of("message", event.name))
            for event in events
        ]

    # -- messages -----------------------------------------------------------------------------

    def _message(self, event: EventEntry) -> dict[str, Any]:
        cls = self._bus.events[event.name]
        message: dict[str, Any] = {
            "name": event.name,
            "title": cls.__name__,
            "contentType": f"application/{event.format}",
            "headers": _ref("components", "schemas", "cloudEventsHeaders"),
            "payload": self._payload(event, cls),
            "correlationId": {"location": "$message.header#/cloudEvents_correlationid"},
            "bindings": {"amqp": {"messageType": event.name, "bindingVersion": _BINDING}},
        }
        if event.summary:
            message["summary"] = event.summary
        if event.deprecated:
            message["deprecated"] = True
            message["description"] = f"Deprecated {event.deprecated}"
        return message

    def _payload(self, event: EventEntry, cls: type[Event]) -> dict[str, Any]:
        record = record_of(cls)
        found = Format.of(event.format)
        own = is_own(self._bus, event)
        if found is Format.JSON or not own:
            # What is read is told by its fields; the format is the publisher's to choose.
            schema = schema_of(record, DRAFT_07)
            return {"schemaFormat": _JSON_SCHEMA, "schema": schema if own else reader_view(schema)}
        text = format_support(found).derive(record, ())
        return {
            "schemaFormat": _SCHEMA_FORMATS[found],
            "schema": json.loads(text) if found is Format.AVRO else text,
        }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "title": "CloudEvents attributes",
        "required": [f"cloudEvents_{name}" for name, _, required in _ATTRIBUTES if required],
        "properties": {
            f"cloudEvents_{name}": {"type": "string", "description": description}
            for name, description, _ in _ATTRIBUTES
        },
    }


def _address(name: str) -> str | None:
    """`name` as a channel's address, in which braces would be parameters."""
    return None if "{" in name or "}" in name else name


def _ref(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}
