"""Parsed schemas, kept: a check of many contracts comes to each of them several times."""

from __future__ import annotations

import threading
from collections import OrderedDict

from eventbus.contracts.avro.parser import parse_text
from eventbus.contracts.avro.types import Node
from eventbus.contracts.schema import Schema

#: Of the texts that are kept parsed; a graph takes 5 to 20 bytes a character.
KEPT_MAX_CHARACTERS = 6_000_000
#: Of one: large schemas are few, and not worth the place of so many others.
KEPT_TEXT_MAX_CHARACTERS = 16_000

_Key = tuple[str, tuple[tuple[str, str], ...]]


class _Kept:
    """Text and references to graph; what was not asked for longest goes first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: OrderedDict[_Key, Node] = OrderedDict()
        self._characters = 0

    def get(self, key: _Key) -> Node | None:
        with self._lock:
            node = self._nodes.get(key)
            if node is not None:
                self._nodes.move_to_end(key)
            return node

    def put(self, key: _Key, node: Node) -> None:
        size = _characters(key)
        if size > KEPT_TEXT_MAX_CHARACTERS:
            return
        with self._lock:
            if key not in self._nodes:
                self._characters += size
            self._nodes[key] = node
            while self._characters > KEPT_MAX_CHARACTERS:
                oldest, _ = self._nodes.popitem(last=False)
                self._characters -= _characters(oldest)


def _characters(key: _Key) -> int:
    text, references = key
    return len(text) + sum(len(one) for _, one in references)


_kept = _Kept()


def parse(schema: Schema) -> Node:
    """The graph of a schema's types; the same one for the same text, and not to be changed.

    Raises
    ------
    InvalidSchema
        It breaks a rule of the specification, or exceeds the bounds; the text says where.
    """
    key = schema.text, tuple(sorted(schema.references.items())) if schema.references else ()
    node = _kept.get(key)
    if node is None:
        node = parse_text(*key)
        _kept.put(key, node)
    return node
