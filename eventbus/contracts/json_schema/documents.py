"""Where the schemas of a document are, and what their references mean: nothing is ever fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from eventbus.contracts.json_schema.dialects import (
    HOLDERS,
    Dialect,
    dialect_of,
    shape_of,
    subschemas,
)
from eventbus.contracts.json_schema.patterns.safety import check_pattern
from eventbus.contracts.json_schema.reading import read_schema
from eventbus.errors import InvalidSchema

#: Schemas that apply to the same value: a cycle of these alone would never end.
IN_PLACE = frozenset(
    [
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependentSchemas",
        "dependencies",
        "$ref",
        "$dynamicRef",
        "$recursiveRef",
    ]
)


class Location:
    """One schema inside a document.

    Parameters
    ----------
    value:
        The schema: an object or a boolean.
    pointer:
        The steps from the document's root.
    leaf:
        The text that tells a schema without others in it from all that mean something else.
    resource:
        The root of the innermost enclosing schema with an ``$id``, or of the document.
    """

    __slots__ = (
        "children",
        "dialect",
        "dynamic_anchors",
        "leaf",
        "pointer",
        "resource",
        "uri",
        "value",
    )

    def __init__(
        self, value: Any, pointer: tuple[str | int, ...], dialect: Dialect, uri: str
    ) -> None:
        self.value = value
        self.pointer = pointer
        self.dialect = dialect
        self.uri = uri
        self.resource = self
        self.leaf = _leaf(value)
        self.children: dict[tuple[str | int, ...], Location] = {}
        #: Of a resource: its dynamic anchors; ``#`` stands for ``$recursiveAnchor``.
        self.dynamic_anchors: dict[str, Location] = {}

    @property
    def json_pointer(self) -> str:
        """The way from the document's root (RFC 6901)."""
        return "".join(f"/{escaped(step)}" for step in self.pointer)

    def __getitem__(self, steps: tuple[str | int, ...]) -> Location:
        return self.children[steps]


def escaped(step: str | int) -> str:
    """One step of a JSON Pointer."""
    return str(step).replace("~", "~0").replace("/", "~1")


class Documents:
    """A schema with what it refers to.

    Parameters
    ----------
    schema:
        As `read_schema` reads it.
    references:
        Name to text.

    Raises
    ------
    InvalidSchema
        It is no JSON Schema of a draft that is read, a reference leads nowhere or in a circle, a
        pattern is none or could take exponential time, or it exceeds the bounds.
    """

    def __init__(self, schema: Any, references: Mapping[str, str]) -> None:
        self._references = references
        self._resources: dict[str, Location] = {}
        self._anchors: dict[tuple[str, str], Location] = {}
        self._resolved: dict[Location, dict[str, Location]] = {}
        self._unresolved: list[Location] = []
        self._loaded: set[str] = set()
        #: Whether a reference may mean something else, depending on the way to it.
        self.dynamic = False
        self.root = self._load(schema, "")
        self._resolve_all()
        self._refuse_circles()

    def target(self, location: Location, keyword: str) -> Location:
        """What the reference at `location` means, its dynamic scope apart."""
        return self._resolved[location][keyword]

    def _load(self, value: Any, uri: str) -> Location:
        dialect = dialect_of(value)
        root = Location(value, (), dialect, uri)
        self._resources.setdefault(uri, root)
        self._index(root)
        return root

    def _index(self, root: Location) -> None:
        stack = [root]
        while stack:
            location = stack.pop()
            schema = location.value
            if not isinstance(schema, dict):
                continue
            if "$ref" in schema and location.dialect.reference_stands_alone:
                schema = {
                    keyword: value
                    for keyword, value in schema.items()
                    if keyword in ("$ref", "definitions", "$defs")
                }
            if location.leaf is not None:
                _check_leaf(location)
                continue
            _check_keywords(schema, location)
            self._identify(schema, location)
            for keyword, steps, value in subschemas(schema, location.dialect):
                if keyword == "patternProperties":
                    check_pattern(str(steps[-1]), location.json_pointer + "/patternProperties")
                child = Location(value, location.pointer + steps, location.dialect, location.uri)
                child.resource = location.resource
                location.children[steps] = child
                stack.append(child)
            if not _REFERENCES.isdisjoint(schema):
                self._unresolved.append(location)

    def _identify(self, schema: dict[str, Any], location: Location) -> None:
        given = schema.get("$id")
        if given is not None:
            self._name_resource(given, location)
        inner = location.pointer and "$schema" in schema
        if inner and dialect_of(schema) is not location.dialect:
            raise InvalidSchema(
                f"{_at(location)} is of another draft than the document around it; "
                "give it as a reference"
            )
        known = location.dialect.keywords
        if "$anchor" in schema and "$anchor" in known:
            self._name(schema["$anchor"], location)
        if "$dynamicAnchor" in schema and "$dynamicAnchor" in known:
            self._name(schema["$dynamicAnchor"], location)
            location.resource.dynamic_anchors[schema["$dynamicAnchor"]] = location
        recursive = schema.get("$recursiveAnchor") is True and "$recursiveAnchor" in known
        if recursive and location is location.resource:
            location.dynamic_anchors["#"] = location
        if "$dynamicRef" in schema or "$recursiveRef" in schema:
            self.dynamic = True

    def _name_resource(self, given: str, location: Location) -> None:
        uri, fragment = urldefrag(_joined(location.uri, given, location))
        if fragment:
            if not given.startswith("#") or "$anchor" in location.dialect.keywords:
                raise InvalidSchema(f"the $id {given[:120]!r} {_at(location)} has a fragment")
            self._name(fragment, location)
            return
        if not uri:
            return
        location.uri = uri
        location.resource = location
        known = self._resources.setdefault(uri, location)
        if known is not location:
            raise InvalidSchema(f"two schemas have the $id {uri[:120]!r}")

    def _name(self, anchor: str, location: Location) -> None:
        known = self._anchors.setdefault((location.resource.uri, anchor), location)
        if known is not location:
            raise InvalidSchema(f"the anchor {anchor[:80]!r} stands in two places")

    def _resolve_all(self) -> None:
        while self._unresolved:
            location = self._unresolved.pop()
            found = self._resolved[location] = {}
            for keyword in _REFERENCES & location.dialect.keywords & location.value.keys():
                found[keyword] = self._resolve(location, location.value[keyword])

    def _resolve(self, location: Location, reference: str) -> Location:
        if reference.startswith("#"):
            resource, fragment = location.resource, reference[1:]
        else:
            uri, fragment = urldefrag(_joined(location.uri, reference, location))
            resource = self._resource(uri, reference, location)
        fragment = unquote(fragment)
        if not fragment:
            return resource
        if fragment.startswith("/"):
            return self._pointed_at(resource, fragment, location)
        try:
            return self._anchors[resource.uri, fragment]
        except KeyError:
            raise _leads_nowhere(reference, location, "there is no such anchor") from None

    def _resource(self, uri: str, reference: str, location: Location) -> Location:
        if uri in self._resources:
            return self._resources[uri]
        for name in (uri, uri + "#", urldefrag(reference)[0], reference):
            if name in self._references and name not in self._loaded:
                self._loaded.add(name)
                return self._load(read_schema(self._references[name]), uri)
        raise _leads_nowhere(
            reference,
            location,
            "files and URLs are not fetched; put it under $defs, or register it as a reference",
        )

    def _pointed_at(self, resource: Location, fragment: str, location: Location) -> Location:
        nearest, value = resource, resource.value
        pending: tuple[str | int, ...] = ()
        for token in fragment[1:].split("/"):
            step: str | int = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and str(step).isascii() and str(step).isdigit():
                step = int(step)
            try:
                if not isinstance(value, (dict, list)) or (
                    isinstance(value, list) and isinstance(step, str)
                ):
                    raise KeyError(step)
                value = value[step]  # type: ignore[index]
            except (KeyError, IndexError):
                raise _leads_nowhere(
                    "#" + fragment, location, f"there is no {str(step)[:80]!r}"
                ) from None
            pending = (*pending, step)
            if pending in nearest.children:
                nearest, pending = nearest.children[pending], ()
        return nearest if not pending else self._adopted(nearest, pending, value, fragment)

    def _adopted(
        self, nearest: Location, steps: tuple[str | int, ...], value: Any, fragment: str
    ) -> Location:
        """Return a schema that stands where no keyword holds one, but a reference points to."""
        if not isinstance(value, (dict, bool)):
            raise InvalidSchema(f"the $ref {'#' + fragment[:120]!r} leads to no schema")
        found = Location(value, nearest.pointer + steps, nearest.dialect, nearest.uri)
        found.resource = nearest.resource
        nearest.children[steps] = found
        self._index(found)
        return found

    def _refuse_circles(self) -> None:
        done: set[Location] = set()
        for start in list(self._resolved):
            if start in done:
                continue
            on_way: dict[Location, None] = {start: None}
            stack = [(start, self._in_place(start))]
            while stack:
                location, following = stack[-1]
                after = next(following, None)
                if after is None:
                    stack.pop()
                    del on_way[location]
                    done.add(location)
                elif after in on_way:
                    raise InvalidSchema(
                        f"the reference {_at(start)} leads back to itself without a step into "
                        "the value, so it would never end"
                    )
                elif after not in done:
                    on_way[after] = None
                    stack.append((after, self._in_place(after)))

    def _in_place(self, location: Location) -> Iterator[Location]:
        for steps, child in location.children.items():
            if steps[0] in IN_PLACE:
                yield child
        for target in self._resolved.get(location, {}).values():
            yield target
            if self.dynamic and target.value is not True:
                yield from self._dynamic_targets(location)

    def _dynamic_targets(self, location: Location) -> Iterator[Location]:
        """Yield whatever a dynamic reference could mean in some scope."""
        schema = location.value
        name = None
        if "$dynamicRef" in schema and "$dynamicRef" in location.dialect.keywords:
            name = urldefrag(schema["$dynamicRef"])[1]
        elif "$recursiveRef" in schema and "$recursiveRef" in location.dialect.keywords:
            name = "#"
        if name:
            for resource in self._resources.values():
                if name in resource.dynamic_anchors:
                    yield resource.dynamic_anchors[name]


_REFERENCES = frozenset(("$ref", "$dynamicRef", "$recursiveRef"))


def _check_keywords(schema: dict[str, Any], location: Location) -> None:
    for keyword, value in schema.items():
        shape = shape_of(keyword, location.dialect)
        if shape is not None and not shape[1](value):
            shown = repr(value) if not isinstance(value, (dict, list)) else type(value).__name__
            raise InvalidSchema(
                f"{keyword} {_at(location)} must be {shape[0]}, not {shown[:80]}"
                + _hint(keyword, value)
            )
    if "pattern" in schema:
        check_pattern(schema["pattern"], location.json_pointer + "/pattern")


def _leaf(value: Any) -> str | None:
    if type(value) is not dict or len(value) > 8 or dict in map(type, value.values()):
        return None
    if list in map(type, value.values()) and not _plain_lists(value):
        return None
    text = repr(value)
    leaf = _LEAF_TEXTS.get(text)
    if leaf is None:
        if len(_LEAF_TEXTS) >= MAX_LEAVES:
            _LEAF_TEXTS.clear()
        leaf = _LEAF_TEXTS[text] = not any(k in _HOLDING or k[:1] == "$" for k in value)
    return text if leaf else None


def _plain_lists(value: dict[str, Any]) -> bool:
    return all(
        len(one) <= 20 and not {dict, list} & set(map(type, one))
        for one in value.values()
        if type(one) is list
    )


#: Texts that were looked at, and whether they stand for a schema without others in it.
_LEAF_TEXTS: dict[str, bool] = {}
#: Keywords whose value is, or may hold, schemas.
_HOLDING = frozenset((*HOLDERS, "items", "dependencies"))
#: The most common schemas, those of single values, are checked once.
_CHECKED_LEAVES: set[tuple[str, str]] = set()
MAX_LEAVES = 5_000


def _check_leaf(location: Location) -> None:
    key = (location.dialect.name, location.leaf or "")
    if key not in _CHECKED_LEAVES:
        _check_keywords(location.value, location)
        if len(_CHECKED_LEAVES) >= MAX_LEAVES:
            _CHECKED_LEAVES.clear()
        _CHECKED_LEAVES.add(key)


def _hint(keyword: str, value: Any) -> str:
    if keyword in ("exclusiveMinimum", "exclusiveMaximum") and isinstance(value, bool):
        return " (true and false are draft-04, which is not read)"
    if keyword == "items" and isinstance(value, list):
        return " (a list is prefixItems in 2020-12; or name draft-07 in $schema)"
    return ""


def _at(location: Location) -> str:
    return f"at {location.json_pointer[:200]}" if location.pointer else "at the root"


def _joined(base: str, reference: str, location: Location) -> str:
    try:
        urlsplit(reference)
        return urljoin(base, reference)
    except ValueError:
        raise InvalidSchema(f"{reference[:120]!r} {_at(location)} is no URI") from None


def _leads_nowhere(reference: str, location: Location, why: str) -> InvalidSchema:
    return InvalidSchema(f"the $ref {reference[:120]!r} {_at(location)} leads nowhere: {why}")
