"""``eventbus schema diff``: whether one schema may follow another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import application_option
from eventbus.cli.contracts import any_bus, registry_option
from eventbus.cli.options import json_option

if TYPE_CHECKING:
    from eventbus.contracts import Compatibility, Difference

_INCOMPATIBLE = 4
_MODES = ("BACKWARD", "FORWARD", "FULL")


def _references(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    found = {}
    for value in values:
        name, equals, path = value.rpartition("=")
        if not (name and equals and path):
            raise click.BadParameter(f"{value!r} is not NAME=FILE", ctx, parameter)
        found[name] = path
    return found


@click.command("diff")
@application_option
@click.argument("old")
@click.argument("new")
@click.option(
    "--format",
    "format",
    type=click.Choice(("json", "avro", "protobuf"), case_sensitive=False),
    help="Of schemas in files. Default: by the file's suffix.",
)
@click.option(
    "--mode",
    type=click.Choice(_MODES, case_sensitive=False),
    default="FULL",
    show_default=True,
    help="BACKWARD: NEW reads what OLD wrote. FORWARD: OLD reads what NEW writes. FULL: both.",
)
@click.option(
    "-r",
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=FILE",
    callback=_references,
    help="What the files refer to: a URI of $ref, an Avro type, a Protobuf import. May be "
    "repeated; nothing else is looked up.",
)
@registry_option("Take subjects from the registry, not from the lock files.")
@json_option
def command(
    old: str,
    new: str,
    format: str | None,
    mode: str,
    references: dict[str, str],
    with_registry: bool,
    as_json: bool,
) -> None:
    """Tell whether NEW may follow OLD; end with 4 if it would break a reader.

    Each is a file, or a contract: order.paid@2, or order.paid for its newest version.

    \b
    --json: {"compatible": BOOLEAN, "format", "mode", "differences": [{"kind", "path", "message",
             "direction": "backward"|"forward"}]}
    """
    from eventbus.contracts import Format, check_evolution
    from eventbus.contracts.gates.naming import named_schema, read_references

    bus = any_bus(with_registry)
    given = None if format is None else Format.of(format)
    referred = read_references(references)
    before, after = (named_schema(bus, name, given, referred, with_registry) for name in (old, new))
    if before.format is not after.format:
        raise click.UsageError(
            f"{old!r} is {before.format.value} and {new!r} is {after.format.value}; only "
            f"schemas of one format can be compared"
        )
    found = check_evolution(new=after, previous=[before], mode=mode, format=after.format)
    _show(found, old, new, after.format.value, mode, as_json)
    if not found:
        raise click.exceptions.Exit(_INCOMPATIBLE)


def _show(found: Compatibility, old: str, new: str, format: str, mode: str, as_json: bool) -> None:
    from eventbus.cli.terminal import Column, print_json, print_line, print_records

    if as_json:
        print_json(
            {
                "compatible": found.compatible,
                "format": format,
                "mode": mode,
                "differences": [_shape(one) for one in found.differences],
            }
        )
        return
    if found:
        print_line(f"{new} may follow {old} ({mode}, {format})")
        return
    print_line(f"{new} must not follow {old} ({mode}, {format}):")
    print_records(
        (Column("kind", style="bold red"), Column("path"), Column("direction")),
        [(one.kind, one.path or "/", one.direction) for one in found.differences],
        note="why",
        notes=[_why(one, old, new) for one in found.differences],
    )


def _why(one: Difference, old: str, new: str) -> str:
    reader, writer = (new, old) if one.direction == "backward" else (old, new)
    return f"{reader} cannot read {writer}: {one.message}"


def _shape(one: Difference) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "path": one.path,
        "message": one.message,
        "direction": one.direction,
    }
