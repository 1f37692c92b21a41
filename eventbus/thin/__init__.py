"""Thin events: an event says what happened to which thing, and when; never what the thing is.

    class OrderPaid(Event, name="order.paid"):      # style="thin" is the default
        order_id: UUID
        paid_at: datetime

A copy of data in an event is old when it is read, is kept in every queue, log and backup that it
passes, and makes every reader a reason not to change it. So the declaration of an event allows
identifiers, enumerations, moments, booleans and counters, in lists with a bound, and
`eventbus.Ref`; docs/thin-events.md says more. ``style="snapshot", reason="…"`` opts out.
"""

from __future__ import annotations

from eventbus.thin.declaration import SNAPSHOT, THIN, check, is_explained, unenforced
from eventbus.thin.findings import MAX_BYTES, Finding, findings_of, sensitive_fields
from eventbus.thin.worst_case import Unbounded, worst_case_bytes

__all__ = [
    "MAX_BYTES",
    "SNAPSHOT",
    "THIN",
    "Finding",
    "Unbounded",
    "check",
    "findings_of",
    "is_explained",
    "sensitive_fields",
    "unenforced",
    "worst_case_bytes",
]
