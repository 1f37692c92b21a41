"""The catalog as a Mermaid flowchart, as boxes and lines, and as a page."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

from eventbus.catalog.diagram import diagram_of
from eventbus.catalog.entries import Catalog, Consumer, EventEntry, FieldEntry
from eventbus.catalog.mermaid import mermaid
from eventbus.catalog.page import page

PLACED = EventEntry("order.placed", "checkout", fields=(FieldEntry("order_id", "uuid", True),))
CANCELLED = EventEntry("order.cancelled", "checkout", deprecated="until 2027-01-01: nothing")
CHARGE = Consumer("billing", "billing.orders", "charge", ("order.placed",))
REFUND = Consumer("billing", "billing.orders", "refund", ("order.*",))
CATALOG = Catalog(("billing", "checkout"), (CANCELLED, PLACED), (CHARGE, REFUND))
#: What a foreign catalog may hold in its names.
HOSTILE = '"];<script>alert(1)</script>\x1b[31m`|{}\u202e'


def test_mermaid_draws_from_the_publisher_over_the_event_to_the_queue() -> None:
    assert mermaid(CATALOG).splitlines() == [
        "flowchart LR",
        '  s0(["checkout"])',
        '  e0["order.cancelled"]',
        '  e1["order.placed"]',
        '  q0[("billing.orders")]',
        "  s0 --> e0",
        '  e0 -->|"refund"| q0',
        "  s0 --> e1",
        '  e1 -->|"charge, refund"| q0',
        "  classDef deprecated stroke-dasharray: 4 4",
        "  class e0 deprecated",
    ]


def test_no_name_can_say_anything_in_mermaid() -> None:
    text = mermaid(Catalog((HOSTILE,), (EventEntry(HOSTILE, HOSTILE),), ()))
    for line in text.splitlines()[1:3]:
        label = re.fullmatch(r' {2}[se]0(?:\(\[|\[)"(.*)"(?:\]\)|\])', line)
        assert label, line
        assert not re.search(r"[\"'<>`|{}\[\]()\x1b]", label[1])
        assert ";" not in re.sub(r"#\d+;", "", label[1])


def test_boxes_stand_in_three_columns_and_do_not_touch() -> None:
    diagram = diagram_of(CATALOG)
    left = {box.kind: box.x for box in diagram.boxes}
    assert left["service"] < left["event"] < left["queue"]
    for kind in left:
        tops = sorted(box.y for box in diagram.boxes if box.kind == kind)
        assert all(below - above > 26 for above, below in pairwise(tops))
    assert all(box.x + box.width <= diagram.width for box in diagram.boxes)
    assert all(box.y + box.height <= diagram.height for box in diagram.boxes)
    # Two that it publishes, and each event once to the one queue.
    assert len(diagram.lines) == 4
    assert {line.title for line in diagram.lines} == {"publishes", "refund", "charge, refund"}


def test_the_picture_of_an_empty_catalog_has_no_boxes() -> None:
    assert diagram_of(Catalog(("shop",), (), ())).boxes == ()


class Tags(HTMLParser):
    """The tags, ids and visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Tags:
    found = Tags()
    found.feed(html)
    return found


def test_the_page_shows_events_fields_and_handlers() -> None:
    found = read(page(CATALOG, "2026-01-01 00:00 UTC"))
    for text in ("order.placed", "order_id", "uuid", "billing.orders", "charge", "until 2027"):
        assert text in found.text
    assert "svg" in found.tags


def test_the_page_runs_no_script_and_loads_nothing() -> None:
    found = read(page(CATALOG, "now"))
    assert not found.tags & {"script", "link", "img", "iframe", "object"}
    assert found.addresses == []


def test_no_name_can_put_anything_into_the_page() -> None:
    hostile = EventEntry(
        HOSTILE,
        HOSTILE,
        summary=HOSTILE,
        format=HOSTILE,
        style=HOSTILE,
        reason=HOSTILE,
        deprecated=HOSTILE,
        fields=(FieldEntry(HOSTILE, HOSTILE, False, HOSTILE),),
    )
    consumer = Consumer(HOSTILE, HOSTILE, HOSTILE, ("#", HOSTILE))
    html = page(Catalog((HOSTILE,), (hostile,), (consumer,)), "now")
    assert "script" not in read(html).tags
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_an_event_that_nobody_takes_says_so() -> None:
    alone = replace(CATALOG, consumers=())
    assert "No handler here takes it." in read(page(alone, "now")).text
