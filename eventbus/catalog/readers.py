"""Who else reads an event, as the schema registry knows it from their workers."""

from __future__ import annotations

from collections.abc import Iterable

from eventbus.catalog.entries import Catalog, Consumer
from eventbus.contracts.registry.port import Registry


def known_readers(registry: Registry, event_names: Iterable[str]) -> Catalog:
    """The registered readers of these events as a catalog of consumers.

    Raises
    ------
    RegistryUnavailable
        The registry does not answer.
    """
    readers = [reader for name in event_names for reader in registry.readers(name)]
    names: dict[tuple[str, str, str], list[str]] = {}
    for reader in readers:
        names.setdefault((reader.service, reader.queue, reader.handler), []).append(reader.subject)
    consumers = tuple(
        Consumer(service, queue, handler, tuple(sorted({*subjects})), tuple(sorted({*subjects})))
        for (service, queue, handler), subjects in sorted(names.items())
    )
    return Catalog(tuple(sorted({reader.service for reader in readers})), (), consumers)
