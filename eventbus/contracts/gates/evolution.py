"""Whether a contract may follow its earlier versions; quickly where that is plain.

The answer is that of `check_evolution`. Several hundred contracts with ten versions each, every one
compared with all before it, would take it minutes.
"""

from __future__ import annotations

from collections.abc import Sequence

from eventbus.contracts.compatibility import Compatibility, Mode, check_evolution
from eventbus.contracts.json_schema.additions import reads_all_of
from eventbus.contracts.schema import Format, Schema


def evolution(new: Schema, earlier: Sequence[Schema], mode: Mode) -> Compatibility:
    """Why `new` may not follow `earlier`, the oldest first; all are valid, and of one format.

    Raises
    ------
    InvalidSchema, MissingDependency
        As of `check_evolution`.
    """
    compared = earlier if mode.transitive else earlier[-1:]
    if new.format is Format.JSON and all(_is_plain(new, one, mode) for one in compared):
        return Compatibility()
    return check_evolution(new=new, previous=earlier, mode=mode, format=new.format)


def _is_plain(new: Schema, earlier: Schema, mode: Mode) -> bool:
    return (not mode.backward or reads_all_of(new, earlier)) and (
        not mode.forward or reads_all_of(earlier, new)
    )
