"""JSON Schema (draft-07, 2019-09, 2020-12): contracts derived from events, read, and compared.

`reading` and `documents` read a schema, `compiling` makes it `formulas`, `satisfying` looks for a
value that one schema accepts and another refuses, `explaining` says which keyword is at fault.
"""

from eventbus.contracts.json_schema.support import SUPPORT

__all__ = ["SUPPORT"]
