"""The body of a message or an event, as text where it is text."""

from __future__ import annotations

import base64

import click

from eventbus.cli.terminal import escape

#: Characters that a terminal is shown; --json gives all of it.
_SHOWN = 4_000


def body_text(body: bytes) -> tuple[str | None, str | None]:
    """The body as text, or in base64 where it is none."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode("ascii")


def print_body(text: str | None, encoded: str | None) -> None:
    """Print what `body_text` gave, as much as a terminal should be shown."""
    click.echo("body (base64)" if text is None else "body")
    shown = (encoded or "") if text is None else text
    lines = shown[:_SHOWN].splitlines() or ["(empty)"]
    if len(shown) > _SHOWN:
        lines.append(f"... {len(shown) - _SHOWN} characters more; --json shows all")
    for line in lines:
        click.echo(f"  {escape(line)}")
