"""The cases, in the order in which they run."""

from . import contracts, dead_letters, latency, prefork, registry, relay, size, storm, wire, worker

CASES = {
    case.name: case
    for case in (
        relay.CASE,
        worker.CASE,
        wire.CASE,
        prefork.CASE,
        storm.CASE,
        dead_letters.CASE,
        latency.CASE,
        registry.CASE,
        contracts.CASE,
        size.CASE,
    )
}
