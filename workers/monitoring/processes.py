"""The processes that run, as the table `eventbus_process` has them: one row a service.

A row lives by a lease that its process renews with each report. A process that ends deletes its
row; one that is killed leaves it behind, and for a while the row tells that it is gone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventbus import tables
from eventbus.database import now_ms

from .rates import Rates
from .report import Report, merged_queues

#: How long a report stands for a living process.
LEASE_MS = 15_000

#: How long the rates of a report are those of now; a process that was killed does nothing.
RATES_MS = 6_000

#: How long a process that did not say goodbye is shown as gone.
GONE_MS = 600_000

#: A report is one row of one statement: its lists are cut at these lengths, its texts at
#: `TEXT_MAX_LENGTH` characters, and beyond `REPORT_MAX_LENGTH` it goes without its handlers.
QUEUES_MAX = 500
CHILDREN_MAX = 200
HELD_MAX = 100
TEXT_MAX_LENGTH = 500
REPORT_MAX_LENGTH = 256 * 1024

_process = tables.process.c


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """What one service of one process last told.

    Parameters
    ----------
    rates:
        Between its last two reports; none if it has not reported lately.
    beat_age_ms:
        How long its loop had not moved when it reported.
    seen_ms:
        How long ago that was, by the database's clock.
    gone:
        Its lease has run out: it was killed, or is cut off from the database.
    """

    id: str
    report: Report
    rates: Rates
    beat_age_ms: int
    seen_ms: int
    gone: bool


def write(connection: Connection, id_: str, report: Report, rates: Rates, beat_age_ms: int) -> None:
    """Insert or renew the row `id_`."""
    values = {
        "report": _dump(report, rates, beat_age_ms),
        "lease_until_ms": now_ms() + LEASE_MS,
    }
    renewed = connection.execute(
        sa.update(tables.process).where(_process.id == id_).values(**values)
    )
    if renewed.rowcount:
        return
    connection.execute(
        sa.insert(tables.process).values(
            id=id_,
            service=report.service[:100],
            kind=report.kind[:10],
            name=report.name[:255],
            started_at_ms=int(report.started_at * 1000),
            **values,
        )
    )


def delete(connection: Connection, ids: list[str]) -> None:
    """Remove rows: their processes have ended, or have long been gone."""
    connection.execute(sa.delete(tables.process).where(_process.id.in_(sorted(ids))))


def forgotten(connection: Connection) -> list[str]:
    """The rows of processes that have been gone for longer than is of interest."""
    return list(
        connection.scalars(
            sa.select(_process.id).where(_process.lease_until_ms < now_ms() - GONE_MS)
        )
    )


def read(connection: Connection) -> list[ProcessRow]:
    """All that are alive or have not been gone for long, by kind, name and start."""
    rows = connection.execute(
        sa.select(_process.id, _process.report, _process.lease_until_ms - now_ms())
        .where(_process.lease_until_ms >= now_ms() - GONE_MS)
        .order_by(_process.kind, _process.name, _process.started_at_ms, _process.id)
    )
    found = (_load(id_, text, int(left_ms)) for id_, text, left_ms in rows)
    return [row for row in found if row is not None]


def _load(id_: str, text: str, left_ms: int) -> ProcessRow | None:
    """The row, None where another version wrote what this one cannot read."""
    try:
        data = json.loads(text)
        seen_ms = max(LEASE_MS - left_ms, 0)
        return ProcessRow(
            id_,
            Report.from_dict(data),
            Rates.from_dict(data["rates"]) if seen_ms <= RATES_MS else Rates(),
            int(data["beat_age_ms"]),
            seen_ms,
            left_ms < 0,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _dump(report: Report, rates: Rates, beat_age_ms: int) -> str:
    """`report` as JSON of bounded size, with what belongs to it."""
    extra = {"rates": dataclasses.asdict(rates), "beat_age_ms": beat_age_ms}
    data = {**brief(report), **extra}
    text = json.dumps(data, default=str)
    if len(text) <= REPORT_MAX_LENGTH:
        return text
    queues = {name: {**queue, "handlers": {}} for name, queue in data["queues"].items()}
    return json.dumps({**data, "queues": queues, "children": [], "rates": {}}, default=str)


def brief(report: Report) -> dict[str, Any]:
    """`report` as a dict with bounded lists and texts: the children's queues are added up."""
    queues = report.queues or merged_queues(report.children)
    data = _own_fields(report)
    data["queues"] = {
        name: _brief_queue(dataclasses.asdict(queue))
        for name, queue in list(queues.items())[:QUEUES_MAX]
    }
    data["held"] = [name[:TEXT_MAX_LENGTH] for name in report.held[:HELD_MAX]]
    data["children"] = [_own_fields(child) for child in report.children[:CHILDREN_MAX]]
    return data


def _own_fields(report: Report) -> dict[str, Any]:
    data = {
        one.name: getattr(report, one.name)
        for one in dataclasses.fields(report)
        if one.name not in ("queues", "children", "held")
    }
    if report.trouble is not None:
        data["trouble"] = report.trouble[:TEXT_MAX_LENGTH]
    return data


def _brief_queue(data: dict[str, Any]) -> dict[str, Any]:
    """Without the histograms, which are for ``/metrics`` of the process itself."""
    handlers: Mapping[str, dict[str, Any]] = data["handlers"]
    for counts in handlers.values():
        counts.pop("durations", None)
    return data
