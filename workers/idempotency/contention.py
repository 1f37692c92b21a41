"""Two transactions that were in each other's way: which errors say so, and trying again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import exc

Result = TypeVar("Result")

#: How often a transaction is repeated that was rolled back for the sake of another one.
ATTEMPTS = 6

#: PostgreSQL: serialization failure, deadlock, lock not available, unique violation.
_SQLSTATES = ("40001", "40P01", "55P03", "23505")
#: MySQL and MariaDB: lock wait time-out, deadlock, duplicate key, record changed since last read.
_MYSQL_CODES = (1205, 1213, 1062, 1020)


def is_contention(error: BaseException) -> bool:
    """Whether a driver's `error` says that another transaction was in the way, for now."""
    original = getattr(error, "orig", None)
    if original is None:
        return False
    if getattr(original, "sqlstate", None) in _SQLSTATES:
        return True
    if original.args and original.args[0] in _MYSQL_CODES:
        return True
    return "database is locked" in str(original)


def retrying(transaction: Callable[[], Result]) -> Result:
    """Run `transaction`, again where another one was in its way, `ATTEMPTS` times at most.

    Each raises its error from `sqlalchemy.exc`, or one whose cause that is.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return transaction()
        except Exception as error:
            cause = error if isinstance(error, exc.SQLAlchemyError) else error.__cause__
            if cause is None or not is_contention(cause):
                raise
            # Not in step with the one that won.
            time.sleep(random.uniform(0, 0.01 * attempt))
    return transaction()
