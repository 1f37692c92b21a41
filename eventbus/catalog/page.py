"""The catalog as one static page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.catalog.diagram import diagram_of
from eventbus.catalog.entries import Catalog, EventEntry
from eventbus.errors import MissingDependency
from eventbus.printable import printable


def page(catalog: Catalog, made_at: str) -> str:
    """The page as HTML.

    Parameters
    ----------
    made_at:
        When, as it is to be shown.

    Raises
    ------
    MissingDependency
        Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise MissingDependency(
            "the page needs Jinja2; install it with: pip install 'eventbus[catalog]'"
        ) from None
    environment = Environment(
        loader=PackageLoader("eventbus.catalog", "templates"),
        # Names and texts are those of an application, and of the files of others.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    template = environment.get_template("catalog.html")
    return template.render(
        catalog=catalog,
        diagram=diagram_of(catalog),
        by_publisher=_by_publisher(catalog.events),
        made_at=made_at,
    )


def _by_publisher(events: Sequence[EventEntry]) -> list[tuple[str, list[EventEntry]]]:
    found: dict[str, list[EventEntry]] = {}
    for event in events:
        found.setdefault(event.publisher, []).append(event)
    return sorted(found.items())
