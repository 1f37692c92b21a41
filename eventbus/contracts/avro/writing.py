"""A schema compiled into what writes an event's JSON form, by fastavro."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from eventbus.contracts.avro.bounds import Check, check_of
from eventbus.contracts.avro.resolution import enum_values
from eventbus.contracts.avro.types import Array, Enum, Fixed, Map, Named, Node, Record, Union
from eventbus.contracts.avro.values import Convert, Unwritable, from_json
from eventbus.errors import MissingDependency


class DoesNotFit(Exception):
    """The data are not what the schema says; `errors` in marshmallow's shape."""

    def __init__(self, errors: Any) -> None:
        super().__init__(errors)
        self.errors = errors


def writer(root: Node) -> Callable[[Any], bytes]:
    """What writes an event's JSON form as `root`; it raises `DoesNotFit`.

    Raises
    ------
    MissingDependency
        fastavro is not installed.
    """
    try:
        from fastavro import parse_schema, schemaless_writer
    except ImportError:
        raise MissingDependency(
            "writing Avro needs fastavro; pip install 'eventbus[avro]'"
        ) from None
    schema = parse_schema(_encoding(root, set()))
    convert = _Writing().converter(root)

    def write(data: Any) -> bytes:
        stream = BytesIO()
        schemaless_writer(stream, schema, convert(data))
        return stream.getvalue()

    return write


def _encoding(node: Node, named: set[str]) -> Any:
    """The schema of the bare encoding: what values mean is settled before fastavro sees them."""
    if isinstance(node, Union):
        return [_encoding(branch, named) for branch in node.branches]
    if isinstance(node, Array):
        return {"type": "array", "items": _encoding(node.items, named)}
    if isinstance(node, Map):
        return {"type": "map", "values": _encoding(node.values, named)}
    if not isinstance(node, Named):
        return node.kind
    if node.name in named:
        return node.name
    named.add(node.name)
    found: dict[str, Any] = {"type": node.kind, "name": node.name}
    if isinstance(node, Record):
        found["fields"] = [
            {"name": one.name, "type": _encoding(one.type, named)} for one in node.fields
        ]
    elif isinstance(node, Enum):
        found["symbols"] = list(node.symbols)
    elif isinstance(node, Fixed):
        found["size"] = node.size
    return found


class _Writing:
    """Compiles what turns JSON forms into what fastavro writes."""

    def __init__(self) -> None:
        self._records: dict[int, Convert] = {}

    def converter(self, node: Node) -> Convert:
        """What turns the JSON form of a value of `node`; it raises `DoesNotFit`."""
        convert = self._converter(node)
        check = check_of(node.mark, node.path)
        return convert if check is None else _checked(convert, check)

    def _converter(self, node: Node) -> Convert:
        if isinstance(node, Record):
            return self._record(node)
        if isinstance(node, Union):
            return self._union(node)
        if isinstance(node, Array):
            return _list_of(self.converter(node.items))
        if isinstance(node, Map):
            return _mapping_to(self.converter(node.values))
        if isinstance(node, Enum):
            return _symbol(node)
        return _single(from_json(node))

    def _record(self, node: Record) -> Convert:
        if id(node) not in self._records:
            self._records[id(node)] = lambda value: self._records[id(node)](value)
            fields = {one.name: self.converter(one.type) for one in node.fields}
            self._records[id(node)] = _object_of(fields)
        return self._records[id(node)]

    def _union(self, node: Union) -> Convert:
        """fastavro is told the branch, which it would otherwise search for."""
        branches = [
            (one.name if isinstance(one, Named) else one.kind, self.converter(one))
            for one in node.branches
        ]

        def convert(value: Any) -> Any:
            problem = None
            for name, branch in branches:
                if (value is None) is (name == "null"):
                    try:
                        return name, branch(value)
                    except DoesNotFit as error:
                        problem = problem or error
            raise problem or DoesNotFit(["Field may not be null."])

        return convert


def _checked(convert: Convert, check: Check) -> Convert:
    def convert_and_check(value: Any) -> Any:
        converted = convert(value)
        problem = check(value)
        if problem is not None:
            raise DoesNotFit([problem])
        return converted

    return convert_and_check


def _single(convert: Convert) -> Convert:
    def checked(value: Any) -> Any:
        try:
            return convert(value)
        except Unwritable as error:
            raise DoesNotFit([str(error)]) from None

    return checked


def _symbol(node: Enum) -> Convert:
    symbols = {value: symbol for symbol, value in enum_values(node).items()}

    def convert(value: Any) -> str:
        # A boolean equals an integer: True would be written as the member with value 1.
        if type(value) not in (str, int) or value not in symbols:
            raise DoesNotFit([f"Must be one of: {', '.join(map(str, symbols))}."])
        return symbols[value]

    return convert


def _list_of(convert: Convert) -> Convert:
    def convert_list(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise DoesNotFit(["Not a valid list."])
        try:
            return [convert(item) for item in value]
        except DoesNotFit:
            raise _all_errors(enumerate(value), lambda _: convert) from None

    return convert_list


def _mapping_to(convert: Convert) -> Convert:
    def convert_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DoesNotFit(["Not a valid mapping."])
        try:
            return {key: convert(item) for key, item in value.items()}
        except DoesNotFit:
            raise _all_errors(value.items(), lambda _: convert) from None

    return convert_mapping


def _object_of(fields: dict[str, Convert]) -> Convert:
    parts = tuple(fields.items())

    def convert_object(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise DoesNotFit(["Not a valid object."])
        if value.keys() != fields.keys():
            raise DoesNotFit(_of_other_fields(value, fields))
        try:
            return {name: convert(value[name]) for name, convert in parts}
        except DoesNotFit:
            raise _all_errors(value.items(), fields.__getitem__) from None

    return convert_object


def _of_other_fields(value: dict[str, Any], fields: dict[str, Convert]) -> dict[str, list[str]]:
    errors = {key: ["The contract has no such field."] for key in value if key not in fields}
    missing = {key: ["The contract needs this field."] for key in fields if key not in value}
    return {**errors, **missing}


def _all_errors(
    items: Iterable[tuple[Any, Any]], converter: Callable[[Any], Convert]
) -> DoesNotFit:
    """What is wrong with each of the items; the quick way has stopped at the first."""
    errors = {}
    for key, item in items:
        try:
            converter(key)(item)
        except DoesNotFit as error:
            errors[key] = error.errors
    return DoesNotFit(errors)
