"""The cases, in the order in which they run."""

from . import latency, relay, size, worker

CASES = {case.name: case for case in (relay.CASE, worker.CASE, latency.CASE, size.CASE)}
