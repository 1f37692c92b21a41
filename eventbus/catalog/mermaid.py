"""The catalog as a Mermaid flowchart: services, events, and the handlers that take them."""

from __future__ import annotations

from eventbus.catalog.entries import Catalog
from eventbus.printable import printable

#: Mermaid reads these in a label as its own syntax; an entity code shows the character.
_ENTITIES = {ord(c): f"#{ord(c)};" for c in "#;\"'`<>[](){}|\\&"}


def mermaid(catalog: Catalog) -> str:
    """A ``flowchart LR``, also for Markdown that shows ```` ```mermaid ```` blocks.

    Nodes are numbered, as names may hold what Mermaid would read as syntax.
    """
    lines = ["flowchart LR"]
    publishers = sorted({event.publisher for event in catalog.events})
    queues = sorted({(one.service, one.queue) for one in catalog.consumers})
    lines += [f"  s{n}([{_label(name)}])" for n, name in enumerate(publishers)]
    lines += [f"  e{n}[{_label(event.name)}]" for n, event in enumerate(catalog.events)]
    lines += [f"  q{n}[({_label(queue)})]" for n, (_, queue) in enumerate(queues)]
    for n, event in enumerate(catalog.events):
        lines.append(f"  s{publishers.index(event.publisher)} --> e{n}")
        handlers: dict[int, list[str]] = {}
        for one in catalog.consumers_of(event.name):
            handlers.setdefault(queues.index((one.service, one.queue)), []).append(one.handler)
        for queue, names in handlers.items():
            lines.append(f"  e{n} -->|{_label(', '.join(names))}| q{queue}")
    deprecated = [f"e{n}" for n, event in enumerate(catalog.events) if event.deprecated]
    if deprecated:
        lines.append("  classDef deprecated stroke-dasharray: 4 4")
        lines.append(f"  class {','.join(deprecated)} deprecated")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return f'"{printable(text).translate(_ENTITIES)}"'
