"""``eventbus schema lint``: all that is wrong with the declarations of an application, at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.acceptance.cli.conftest import Shop

_THIN = """
from uuid import UUID
from eventbus import Deprecated, Event, EventBus
bus = EventBus("shop")
class OrderPaid(Event, name="order.paid", deprecated=Deprecated("2027-01-01", "use order.settled")):
    order_id: UUID
class PriceSet(Event, name="price.set", style="snapshot", reason="\\x1b[31ma price is a fact"):
    cents: int
    note: str
class PaymentMade(Event, name="payment.made", source="bank"):
    iban: str
@bus.handler("order.*", queue="q")
def react(event): ...
"""
_FAT = """
from decimal import Decimal
class OrderPlaced(Event, name="order.placed"):
    total: Decimal
    email: str
class OrderCopied(Event, name="order.copied", style="snapshot"):
    copied: bool
class OrderSent(Event, name="order.sent", source="shop"):
    weight: float
"""


Lint = Callable[..., CompletedProcess[str]]


@pytest.fixture
def lint(tmp_path: Path) -> Lint:
    """Runs it for an application with that text."""

    def run(text: str, *arguments: str) -> CompletedProcess[str]:
        (tmp_path / "shop.py").write_text(text)
        # Nothing is there: it needs no server.
        environment = {"EVENTBUS_DATABASE_URL": "postgresql+psycopg://localhost:1/none"}
        return Shop(tmp_path, environment).run("schema", "lint", "-A", "shop", *arguments)

    return run


def test_events_that_are_what_they_say_are_listed_with_their_worst_case(lint: Lint) -> None:
    ended = lint(_THIN)
    assert ended.returncode == 0, ended.stderr
    lines = {line.split()[0]: line for line in ended.stdout.splitlines() if "." in line}
    assert lines["order.paid"].split()[1:5] == ["shop", "thin", "51", "B"]
    assert lines["price.set"].split()[1:5] == ["shop", "snapshot", "any", "size"]
    assert r"\x1b[31ma price is a fact" in lines["price.set"]
    assert lines["payment.made"].split()[1:5] == ["bank", "-", "any", "size"]
    assert "handler react reads order.paid, which goes away on 2027-01-01" in ended.stdout
    assert "use order.settled" in ended.stdout
    assert "3 events checked: 1 note" in ended.stdout


def test_every_event_that_is_not_is_named_with_the_remedy_and_ends_with_4(lint: Lint) -> None:
    ended = lint(_THIN + _FAT, "--json")
    assert ended.returncode == 4, ended.stderr
    told = json.loads(ended.stdout)
    assert told["ok"] is False
    events = {event["name"]: event for event in told["events"]}
    assert events["order.paid"]["worst_case_bytes"] == 51
    assert events["order.placed"]["worst_case_bytes"] is None
    assert events["order.placed"]["sensitive"] == ["email"]
    found = [(one["event"], one["rule"], one["kind"], one["path"]) for one in told["findings"]]
    assert found == [
        ("order.copied", "snapshot-unexplained", None, None),
        ("order.paid", "deprecated-use", None, None),
        ("order.placed", "not-thin", "TYPE", "/total"),
        ("order.placed", "not-thin", "TYPE", "/email"),
        ("order.placed", "not-thin", "NAME", "/email"),
        ("order.sent", "not-thin", "TYPE", "/weight"),
    ]
    placed = next(one for one in told["findings"] if one["path"] == "/total")
    assert placed["file"] == "shop.py"
    assert 'style="snapshot", reason="…"' in placed["remedy"]


def test_for_a_review_and_for_code_scanning(lint: Lint) -> None:
    ended = lint(_THIN + _FAT, "--format", "github")
    assert ended.returncode == 4
    assert "::error file=shop.py,line=" in ended.stdout
    ended = lint(_THIN + _FAT, "--format", "sarif")
    results = json.loads(ended.stdout)["runs"][0]["results"]
    identities = [result["partialFingerprints"]["contract/v1"] for result in results]
    assert len(set(identities)) == len(identities) == 6


def test_any_other_command_stops_at_the_first(lint: Lint, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(_THIN + _FAT)
    ended = Shop(tmp_path).run("-A", "shop", "schema", "check")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: OrderPlaced (order.placed) is not a thin event: total")
    assert ended.stderr.count("\n") == 1
