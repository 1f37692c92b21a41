"""Contracts: the registered, versioned schemas of events.

The class of an event is its declaration; from it come a writer's contract (what is published,
closed) and a reader's (what is needed to read it, open, with defaults), as JSON Schema, Avro or
Protobuf. The checkers answer one question for any pair of schemas, also for those of others:
can this reader read everything that this writer may write?

Example::

    from eventbus.contracts import check_compatibility

    found = check_compatibility(reader=new, writer=old, format="json")
    for difference in found.differences:
        print(difference.path, difference.message)
"""

from eventbus.contracts.compatibility import (
    Compatibility,
    Difference,
    Mode,
    check_compatibility,
    check_evolution,
)
from eventbus.contracts.schema import Format, Schema

__all__ = [
    "Compatibility",
    "Difference",
    "Format",
    "Mode",
    "Schema",
    "check_compatibility",
    "check_evolution",
]
