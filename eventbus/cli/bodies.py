"""The body of a message or an event in a form for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.terminal import escape
from eventbus.contracts.wire.content_types import binary_format
from eventbus.errors import EventBusError

if TYPE_CHECKING:
    from eventbus.bus import EventBus
    from eventbus.contracts.receiving import Receiving
    from eventbus.message import Message

#: Characters that a terminal is shown; --json gives all of it.
_SHOWN = 4_000


class Bodies:
    """Shows the bodies of an application's messages; schemas are looked up where one needs them."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    def forms(self, message: Message, event: str | None) -> dict[str, Any]:
        """``body`` as text or ``body_base64``; and ``data`` of an Avro or a Protobuf body.

        ``data`` is None of another body, and where nothing at hand can decode it.
        """
        if binary_format(message.content_type or "") is None:
            with suppress(UnicodeDecodeError):
                return {"body": message.body.decode(), "body_base64": None, "data": None}
        encoded = base64.b64encode(message.body).decode("ascii")
        return {"body": None, "body_base64": encoded, "data": self.data(message, event)}

    def data(self, message: Message, event: str | None) -> Any:
        """The JSON form of an Avro or a Protobuf body; None of another one, or if it has none."""
        if binary_format(message.content_type or "") is None:
            return None
        try:
            return self._receiving.data(message, event or "")
        except EventBusError:
            return None

    @cached_property
    def _receiving(self) -> Receiving:
        from eventbus.contracts.receiving import Receiving

        return Receiving(self._bus)


def print_body(forms: Mapping[str, Any]) -> None:
    """Print what `Bodies.forms` gave, as much as a terminal should be shown."""
    if forms["data"] is not None:
        click.echo("body (decoded)")
        shown = json.dumps(forms["data"], indent=2, ensure_ascii=False)
    elif forms["body"] is not None:
        click.echo("body")
        shown = forms["body"]
    else:
        click.echo("body (base64)")
        shown = forms["body_base64"]
    lines = shown[:_SHOWN].splitlines() or ["(empty)"]
    if len(shown) > _SHOWN:
        lines.append(f"... {len(shown) - _SHOWN} characters more; --json shows all")
    for line in lines:
        click.echo(f"  {escape(line)}")
