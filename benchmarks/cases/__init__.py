"""The cases, in the order in which they run."""

from . import latency, relay, size, storm, worker

CASES = {case.name: case for case in (relay.CASE, worker.CASE, storm.CASE, latency.CASE, size.CASE)}
