"""Boxes and lines of the catalog's picture: services, events and queues, left to right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eventbus.catalog.entries import Catalog

#: Pixels. A box is as wide as its longest name, in a monospaced font of 12 pixels.
_CHARACTER_WIDTH = 7.3
_PADDING = 12
_HEIGHT = 26
_GAP = 10
_BETWEEN_COLUMNS = 120
_LONGEST_NAME = 48


@dataclass(frozen=True, slots=True)
class Box:
    """A named box; `kind` is ``service``, ``event`` or ``queue``."""

    kind: str
    name: str
    x: float
    y: float
    width: float
    height: float
    faded: bool = False

    @property
    def text(self) -> str:
        """The name, cut where it is very long."""
        return _cut(self.name)


@dataclass(frozen=True, slots=True)
class Line:
    """A curve from the right side of one box to the left side of another, as an SVG path."""

    path: str
    title: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """Boxes and lines in a picture of `width` by `height` pixels."""

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def diagram_of(catalog: Catalog) -> Diagram:
    """Lay out three columns; services and queues stand near the events that they share."""
    names = [event.name for event in catalog.events]
    taken: dict[str, list[int]] = {}
    published: dict[str, list[int]] = {}
    titles: dict[tuple[str, str], list[str]] = {}
    for index, event in enumerate(catalog.events):
        published.setdefault(event.publisher, []).append(index)
        for one in catalog.consumers_of(event.name):
            taken.setdefault(one.queue, []).append(index)
            titles.setdefault((event.name, one.queue), []).append(one.handler)
    for one in catalog.consumers:
        taken.setdefault(one.queue, [])
    columns = (_by_middle(published), names, _by_middle(taken))
    boxes = _boxes(columns, {event.name for event in catalog.events if event.deprecated})
    lines = [
        _line(boxes["service", event.publisher], boxes["event", event.name], "publishes")
        for event in catalog.events
    ]
    lines += [
        _line(boxes["event", event], boxes["queue", queue], ", ".join(handlers))
        for (event, queue), handlers in titles.items()
    ]
    every = tuple(boxes.values())
    return Diagram(
        every,
        tuple(lines),
        max((box.x + box.width for box in every), default=0) + 1,
        max((box.y + box.height for box in every), default=0) + 1,
    )


def _by_middle(events_of: Mapping[str, list[int]]) -> list[str]:
    """Names in the order of the middle of their events, so that few lines cross."""
    return sorted(events_of, key=lambda name: (_middle(events_of[name]), name))


def _middle(indexes: Sequence[int]) -> float:
    return sum(indexes) / len(indexes) if indexes else float("inf")


def _boxes(columns: Iterable[Sequence[str]], deprecated: set[str]) -> dict[tuple[str, str], Box]:
    columns = list(columns)
    tallest = max(len(column) for column in columns)
    found: dict[tuple[str, str], Box] = {}
    x = 1.0
    for kind, names in zip(("service", "event", "queue"), columns, strict=True):
        width = max((len(_cut(name)) for name in names), default=0) * _CHARACTER_WIDTH
        width += 2 * _PADDING
        top = (tallest - len(names)) * (_HEIGHT + _GAP) / 2
        for row, name in enumerate(names):
            y = 1 + top + row * (_HEIGHT + _GAP)
            faded = kind == "event" and name in deprecated
            found[kind, name] = Box(kind, name, x, y, width, _HEIGHT, faded)
        x += width + _BETWEEN_COLUMNS
    return found


def _line(start: Box, end: Box, title: str) -> Line:
    x1, y1 = start.x + start.width, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    bend = (x2 - x1) / 2
    path = (
        f"M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    )
    return Line(path, title)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
