"""The books: what is in the services' own databases, counted while they work and at the end.

The demo's verdict rests on these alone, not on what the processes say of themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from eventbus import tables
from eventbus.database import make_engine, reading

from ..billing.models import Charge
from ..checkout.models import Order
from ..email.models import Mail
from ..inventory.models import FIRST_STOCK, Reservation, Stock
from ..prepare import PRODUCTS, TABLES, database_variable


@dataclass(frozen=True)
class Counts:
    """How far the services are."""

    placed: int = 0
    charges: int = 0
    reservations: int = 0
    mails: int = 0


@dataclass(frozen=True)
class Finding:
    """One line of the verdict: what was counted, and what it must be."""

    text: str
    found: int
    expected: int

    @property
    def good(self) -> bool:
        """Whether it is as it must be."""
        return self.found == self.expected


class Books:
    """Reads the databases that `environment` names; never writes."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._engines = {
            service: make_engine(environment[database_variable(service)]) for service in TABLES
        }

    def close(self) -> None:
        """Close the connections."""
        for engine in self._engines.values():
            engine.dispose()

    def counts(self) -> Counts:
        """The number of rows of each service."""
        return Counts(
            placed=self._count("checkout", Order),
            charges=self._count("billing", Charge),
            reservations=self._count("inventory", Reservation),
            mails=self._count("email", Mail),
        )

    def charges_by(self, pid: int) -> int:
        """How many charges the worker process `pid` has made."""
        return self._count("billing", Charge, Charge.worker_pid == pid)

    def unsent(self) -> int:
        """How many events wait in the outboxes for their dispatcher."""
        return sum(self._count(service, tables.outbox) for service in TABLES)

    def audit(self, orders: int, confirmed: list[UUID]) -> list[Finding]:
        """Compare the databases with each other, order by order.

        Parameters
        ----------
        orders:
            How many were to be placed.
        confirmed:
            The orders that customers were told of.
        """
        placed = set(self._column("checkout", Order.id))
        charged = Counter(self._column("billing", Charge.order_id))
        reserved = Counter(self._column("inventory", Reservation.order_id))
        mailed = Counter(self._column("email", Mail.order_id))
        return [
            Finding("orders placed", len(placed), orders),
            Finding("orders confirmed to a customer but not kept", len(set(confirmed) - placed), 0),
            Finding("orders charged", len(placed & charged.keys()), orders),
            Finding("orders charged more than once", _repeated(charged), 0),
            Finding("orders charged a wrong amount", self._wrong_amounts(), 0),
            Finding("orders with goods reserved", len(placed & reserved.keys()), orders),
            Finding("orders reserved more than once", _repeated(reserved), 0),
            Finding("pieces taken from the shelves", self._taken(), orders),
            Finding("orders with an e-mail sent", len(placed & mailed.keys()), orders),
            Finding("e-mails sent more than once", _repeated(mailed), 0),
        ]

    def _wrong_amounts(self) -> int:
        """Charges of another amount than the order's, or of no order at all."""
        amounts = dict(self._rows("checkout", Order.id, Order.amount_cents))
        charges = self._rows("billing", Charge.order_id, Charge.amount_cents)
        return sum(amounts.get(order_id) != amount for order_id, amount in charges)

    def _taken(self) -> int:
        left: int = sum(self._column("inventory", Stock.available))
        return FIRST_STOCK * len(PRODUCTS) - left

    def _count(self, service: str, table: Any, *where: sa.ColumnElement[bool]) -> int:
        counting = sa.select(sa.func.count()).select_from(table).where(*where)
        with reading(self._engines[service]) as connection:
            return int(connection.scalar(counting) or 0)

    def _column(self, service: str, column: Any) -> list[Any]:
        return [row[0] for row in self._rows(service, column)]

    def _rows(self, service: str, *columns: Any) -> list[Any]:
        with reading(self._engines[service]) as connection:
            return list(connection.execute(sa.select(*columns)))


def _repeated(times: Counter[UUID]) -> int:
    return sum(count > 1 for count in times.values())
