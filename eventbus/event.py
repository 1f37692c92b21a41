"""Events: immutable facts in the past tense, declared as classes.

The annotations are the declaration. From them comes a marshmallow schema that both sides use: the
writer's is closed (an unknown field is an error), the reader's is open (an unknown field is
ignored), so that a producer may add a field without asking its consumers.

Example::

    class OrderPaid(Event, name="order.paid"):
        order_id: UUID
        paid_at: datetime
"""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import enum
import inspect
import re
import sys
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import marshmallow
from marshmallow import EXCLUDE, Schema, missing, validate
from typing_extensions import Self, dataclass_transform

from eventbus import fields, thin
from eventbus.annotations import FIELD_MARKS, Deprecated, Marks, Places
from eventbus.errors import DeclarationError, ValidationError
from eventbus.regular_expressions import ending_at_the_end

#: AMQP 0-9-1 §4.2.5.3: a short string, and so a routing key, holds at most 255 bytes.
ROUTING_KEY_MAX_BYTES = 255

_SCALARS: dict[type, type[marshmallow.fields.Field[Any]]] = {
    str: fields.Text,
    int: fields.Int,
    bool: fields.Bool,
    float: fields.Float,
    decimal.Decimal: fields.DecimalText,
    uuid.UUID: fields.Uuid,
    dt.datetime: fields.Timestamp,
    dt.date: fields.Date,
}

_SUPPORTED = (
    "str, int, bool, float, Decimal, UUID, datetime, date, an Enum of str or int values, a Struct, "
    "list[...], dict[str, ...], and any of them with '| None'"
)

#: What an event's body and its contract can be written in.
FORMATS = ("json", "avro", "protobuf")

#: The JSON form of an event's data to that of the next version.
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: A major is part of the name: another routing key, which the readers of the old one do not get.
_MAJOR = re.compile(r"\.v([1-9][0-9]{0,4})", re.ASCII)
_MAJOR_MAX = 99_999

_MISSING: Any = missing

#: What a conversion of an unsuitable value raises, our own and that of marshmallow's fields.
_UNWRITABLE = (TypeError, ValueError, AttributeError, ArithmeticError)


def check_event_name(name: object) -> str:
    """Return `name` when it can be an event's name and a routing key.

    Raises
    ------
    DeclarationError
        It is empty, has an empty word, white space, a control character or a wildcard, or takes
        more than 255 bytes of UTF-8 (AMQP 0-9-1 §4.2.5.3).
    """
    if not isinstance(name, str):
        raise DeclarationError(f"an event name is a string such as 'order.paid', not {name!r}")
    problem = None
    if not all(name.split(".")):
        problem = "has an empty word"
    elif any(character.isspace() or not character.isprintable() for character in name):
        problem = "contains white space or a control character"
    elif "*" in name or "#" in name:
        problem = "contains a wildcard; '*' and '#' belong to the patterns of handlers"
    elif len(name.encode("utf-8", "surrogatepass")) > ROUTING_KEY_MAX_BYTES:
        problem = f"takes more than {ROUTING_KEY_MAX_BYTES} bytes, the limit of an AMQP routing key"
    if problem:
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise DeclarationError(
            f"event name {shown!r} {problem}; use dot-separated words such as 'order.paid'"
        )
    return name


def name_of_major(name: str, major: int | None) -> tuple[str, int]:
    """The event's name with its major, and the major: ``order.paid``, 2 is ``order.paid.v2``.

    A name may say the major itself; without one it is 1.

    Raises
    ------
    DeclarationError
        The two contradict each other, or `major` is none.
    """
    stem, dot, last = name.rpartition(".")
    match = _MAJOR.fullmatch(dot + last) if stem else None
    said = int(match[1]) if match else None
    if major is None:
        return name, said or 1
    if type(major) is not int or not 1 <= major <= _MAJOR_MAX:
        raise DeclarationError(
            f"event {name!r:.80} has major={major!r:.40}; a major is 1, 2, 3 … {_MAJOR_MAX}"
        )
    if said is not None and said != major:
        raise DeclarationError(
            f"event {name!r:.80} has major={major}, but its name says {said}; leave one of the two"
        )
    return (name if said or major == 1 else f"{name}.v{major}"), major


def _invalid(cls: type[Struct], found: Any) -> ValidationError:
    """Our error for marshmallow's, or for its messages."""
    errors: Any = found
    if isinstance(found, marshmallow.ValidationError):
        errors = found.messages if isinstance(found.messages, dict) else {"_schema": found.messages}
    name = getattr(cls, "__event_name__", "") or cls.__name__
    details = "; ".join(f"{path}: {text}" for path, text in _flatten(errors))
    return ValidationError(f"{name} is not valid: {details}", errors)


def _flatten(errors: Any, path: str = "") -> list[tuple[str, str]]:
    """The leaves of marshmallow's nested messages, each with its dotted path."""
    if isinstance(errors, dict):
        rows = []
        for key, value in errors.items():
            rows += _flatten(value, f"{path}.{key}" if path else str(key))
        return rows
    if isinstance(errors, list):
        return [row for item in errors for row in _flatten(item, path)]
    return [(path, str(errors))]


def _own_hints(cls: type[Struct], namespace: dict[str, Any]) -> dict[str, Any]:
    """Resolve the annotations of `cls` itself; those of its bases mean what they mean there."""
    own = type(
        cls.__name__,
        (),
        {"__module__": cls.__module__, "__annotations__": inspect.get_annotations(cls)},
    )
    return typing.get_type_hints(own, localns=namespace, include_extras=True)


def _namespace_of_caller() -> dict[str, Any]:
    """The local names at the class statement, so that annotations may use local classes."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name == "__init_subclass__":
        frame = frame.f_back
    return dict(frame.f_locals)


def _declare_fields(cls: type[Struct], namespace: dict[str, Any]) -> None:
    """Set the marshmallow fields and the defaults of a struct, inherited ones included."""
    cls.__declared__, cls.__defaults__, cls.__marks__ = {}, {}, {}
    for base in reversed(cls.__mro__[1:]):
        if issubclass(base, Struct):
            cls.__declared__.update(base.__declared__)
            cls.__defaults__.update(base.__defaults__)
            cls.__marks__.update(base.__marks__)
    for name, hint in _hints_of(cls, namespace).items():
        if name.startswith("_") or typing.get_origin(hint) is ClassVar or hint is ClassVar:
            continue
        field = _declare_field(cls, name, hint)
        cls.__declared__[name] = field
        cls.__marks__[name] = Marks.of(_extras_of(hint), f"{cls.__qualname__}.{name}")
        _check_default(cls, name, field)
    _check_aliases(cls)


def _extras_of(hint: Any) -> list[object]:
    """What ``Annotated`` adds to a field, also inside ``Annotated[...] | None``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return [*arguments[1:], *_extras_of(arguments[0])]
    if origin in (typing.Union, types.UnionType):
        return [extra for argument in arguments for extra in _extras_of(argument)]
    return []


def _check_aliases(cls: type[Struct]) -> None:
    """Refuse an earlier name that another field has: a reader could not tell the two apart."""
    owners = {field.data_key or name: name for name, field in cls.__declared__.items()}
    for name, marks in cls.__marks__.items():
        for alias in marks.aliases:
            if owners.setdefault(alias, name) != name or alias == _wire_name(cls, name):
                raise DeclarationError(
                    f"{cls.__qualname__}.{name} has the alias {alias!r:.80}, which is the name of "
                    f"{owners[alias]!r}; an alias is a name that no field has any longer"
                )
            owners[alias] = name


def _wire_name(cls: type[Struct], name: str) -> str:
    return cls.__declared__[name].data_key or name


def _hints_of(cls: type[Struct], namespace: dict[str, Any]) -> dict[str, Any]:
    try:
        return _own_hints(cls, namespace)
    except NameError as error:
        raise DeclarationError(
            f"{cls.__qualname__}: an annotation names {error.name!r}, which is not defined where "
            f"the class is declared; import it outside 'if TYPE_CHECKING'"
        ) from None
    except (TypeError, SyntaxError, AttributeError) as error:
        raise DeclarationError(
            f"{cls.__qualname__}: an annotation cannot be read: {error}"
        ) from None


def _declare_field(cls: type[Struct], name: str, hint: Any) -> marshmallow.fields.Field[Any]:
    given = cls.__dict__.get(name, _MISSING)
    if given is not _MISSING and not isinstance(given, marshmallow.fields.Field):
        cls.__defaults__[name] = _factory(given)
    # Said explicitly, as marshmallow takes a default of None for a permission.
    options: dict[str, Any] = {"allow_none": False}
    if name in cls.__defaults__:
        options["load_default"] = cls.__defaults__[name]
    if isinstance(given, marshmallow.fields.Field):
        field = given
    else:
        field = _field_for(hint, f"{cls.__qualname__}.{name}", options)
    _sharpen(field)
    if field.load_default is not missing:
        cls.__defaults__[name] = field.load_default
    return field


def _sharpen(field: marshmallow.fields.Field[Any]) -> None:
    """Let a ``$`` in the patterns of a field, and of its items, mean what it means elsewhere."""
    field.validators = [
        ending_at_the_end(validator) if type(validator) is validate.Regexp else validator
        for validator in field.validators
    ]
    if isinstance(field, fields.List):
        _sharpen(field.inner)
    elif isinstance(field, fields.Mapping):
        _sharpen(field.values)


def _check_default(cls: type[Struct], name: str, field: marshmallow.fields.Field[Any]) -> None:
    """Refuse a default that a writer could not write: readers take it without a look."""
    default = field.load_default() if callable(field.load_default) else field.load_default
    if default is missing or (default is None and field.allow_none):
        return
    try:
        if default is None:
            raise marshmallow.ValidationError("Field may not be null.")
        field.deserialize(field._serialize(default, name, None))
    except (marshmallow.ValidationError, *_UNWRITABLE) as error:
        raise DeclarationError(
            f"{cls.__qualname__}.{name} has the default {default!r:.80}, which does not fit its "
            f"type: {error}"
        ) from None


def _factory(default: Any) -> Any:
    """A list or dict default is copied for each instance, as nobody wants to share it."""
    return (lambda: _owned(default)) if isinstance(default, (list, dict)) else default


def _owned(value: Any) -> Any:
    """Copy the containers in `value`: an immutable object shares none with its maker."""
    if isinstance(value, list):
        return [_owned(item) for item in value]
    if isinstance(value, dict):
        return {key: _owned(item) for key, item in value.items()}
    return value


def _moments_in_utc(value: Any) -> Any:
    """`value` with its times in UTC.

    A time in the hour that a zone's clock passes twice equals no time in another zone (PEP 495),
    not even the same moment, so times are compared in one zone.
    """
    if isinstance(value, dt.datetime) and value.utcoffset() is not None:
        return value.astimezone(dt.timezone.utc)
    if isinstance(value, list):
        return [_moments_in_utc(item) for item in value]
    if isinstance(value, dict):
        return {key: _moments_in_utc(item) for key, item in value.items()}
    if isinstance(value, Struct):
        return type(value), _moments_in_utc(value.__dict__)
    return value


def _hashable(value: Any) -> Any:
    """Something with a hash that is equal for equal `value`."""
    if isinstance(value, list):
        return tuple(_hashable(item) for item in value)
    if isinstance(value, dict):
        return frozenset((key, _hashable(item)) for key, item in value.items())
    return value


def _field_for(hint: Any, where: str, options: dict[str, Any]) -> marshmallow.fields.Field[Any]:
    """Return the field for an annotation; `where` names it in errors."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:], where, options)
    if origin in (typing.Union, types.UnionType):
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) == 1 and len(arguments) == 2:
            return _field_for(inner[0], where, {**options, "allow_none": True})
    if "places" in options and hint is not decimal.Decimal:
        raise DeclarationError(f"{where} has Places, which belong to a Decimal, not to {hint!r}")
    if origin is list and len(arguments) == 1:
        return fields.List(_item_for(arguments[0], f"{where}[]"), **options)
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        return fields.Mapping(_item_for(arguments[1], f"{where}{{}}"), **options)
    if isinstance(hint, type):
        if hint in _SCALARS:
            return _SCALARS[hint](**options)
        if issubclass(hint, enum.Enum):
            _check_enum(hint, where)
            return fields.EnumValue(hint, **options)
        if issubclass(hint, Struct) and hint not in (Struct, Event):
            return fields.StructField(hint, **options)
    raise DeclarationError(
        f"{where} has type {hint!r}, which has no form on the wire; use {_SUPPORTED}, or name a "
        f"marshmallow field with Annotated[<type>, <field>]"
    )


def _item_for(hint: Any, where: str) -> marshmallow.fields.Field[Any]:
    for extra in _extras_of(hint):
        if isinstance(extra, FIELD_MARKS):
            raise DeclarationError(
                f"{where} has {extra!r}, which belongs to a field, not to the items in it"
            )
    return _field_for(hint, where, {})


def _annotated(
    hint: Any, extras: tuple[Any, ...], where: str, options: dict[str, Any]
) -> marshmallow.fields.Field[Any]:
    """``Annotated[T, field]`` takes the field as it is; ``Annotated[T, validator, ...]`` adds."""
    for extra in extras:
        if isinstance(extra, marshmallow.fields.Field):
            # A copy: the same annotation may serve other fields, with other defaults.
            field = copy.deepcopy(extra)
            if "load_default" in options:
                field.load_default = options["load_default"]
            return field
        if isinstance(extra, Places):
            options = {**options, "places": extra.places, "digits": extra.digits}
    # A class is a mark for some other library, not a validator.
    validators: list[Callable[[Any], Any]] = [
        extra for extra in extras if callable(extra) and not isinstance(extra, type)
    ]
    return _field_for(hint, where, {**options, "validate": validators} if validators else options)


def _check_enum(enumeration: type[enum.Enum], where: str) -> None:
    bad = [member for member in enumeration if type(member.value) not in (str, int)]
    bad = [m for m in bad if not isinstance(m.value, (str, int)) or isinstance(m.value, bool)]
    if bad:
        raise DeclarationError(f"{where}: {bad[0]} has no value of type str or int")


class StructSchema(Schema):
    """The marshmallow schema of one `Struct`; strict when writing, open when reading."""

    struct: ClassVar[type[Struct]]

    class Meta:
        unknown = EXCLUDE

    @classmethod
    def of(cls, struct: type[Struct], declared: dict[str, marshmallow.fields.Field[Any]]) -> Self:
        """Build the schema for `struct` with the given fields."""
        renamed = any(marks.aliases for marks in struct.__marks__.values())
        base = AliasedSchema if renamed else cls
        made: Any = type(f"{struct.__name__}Schema", (base,), dict(declared))
        # Set afterwards: a field may have this name.
        made.struct = struct
        schema: Self = made()
        return schema

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """Return `obj` as JSON-ready values, or raise marshmallow's ValidationError.

        Unlike marshmallow's own ``dump`` it validates: what it returns is read back, and must
        come back equal, so that no reader sees another value than the writer meant.
        """
        wire: dict[str, Any] = {}
        errors: dict[str, Any] = {}
        for name, field in self.fields.items():
            key = field.data_key or name
            value = obj.__dict__[name]
            if value is None:
                if not field.allow_none:
                    errors[key] = ["Field may not be null."]
                wire[key] = None
                continue
            try:
                dumped = field._serialize(value, name, obj)
                read_back = field.deserialize(dumped)
            except marshmallow.ValidationError as error:
                errors[key] = error.messages
                continue
            except _UNWRITABLE as error:
                errors[key] = [f"Cannot be written: {error}"]
                continue
            if read_back != value and _moments_in_utc(read_back) != _moments_in_utc(value):
                errors[key] = [f"Would be read back as {read_back!r}."]
            wire[key] = dumped
        if errors:
            raise marshmallow.ValidationError(errors)
        return wire

    def load(self, data: Any, *, many: bool | None = None, **kwargs: Any) -> Any:
        """Return the struct that `data` describes, or raise marshmallow's ValidationError.

        What is right goes field by field; marshmallow's full machinery, three times as slow, runs
        where something is wrong, to report all errors.
        """
        if type(data) is dict and not kwargs and not many:
            values = {}
            try:
                for name, key, deserialize in self._plain:
                    values[name] = deserialize(data.get(key, _MISSING), key, data)
            except marshmallow.ValidationError:
                pass
            else:
                return self.struct.__from_valid__(values)
        return self.struct.__from_valid__(super().load(data, many=many, **kwargs))

    def on_bind_field(self, field_name: str, field_obj: marshmallow.fields.Field[Any]) -> None:
        field_obj.required = field_obj.load_default is missing

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._plain = tuple(
            (name, field.data_key or name, _reader_of(field)) for name, field in self.fields.items()
        )


def _reader_of(field: marshmallow.fields.Field[Any]) -> Callable[..., Any]:
    """``field.deserialize``; the short way where it would only call ``_deserialize``.

    A field without validators does nothing more with a value that is there: about a third of the
    time that reading an event takes.
    """
    usual = field.deserialize
    if not _only_converts(field):
        return usual
    convert = field._deserialize

    def read(value: Any, key: str, data: Any) -> Any:
        if value is None or value is _MISSING:
            return usual(value, key, data)
        return convert(value, key, data)

    return read


def _only_converts(field: marshmallow.fields.Field[Any]) -> bool:
    """Whether nothing but ``_deserialize`` looks at a value that is there."""
    own, base = type(field), marshmallow.fields.Field
    return (
        own.deserialize is base.deserialize
        and own._validate is base._validate
        and own._validate_missing is base._validate_missing
        and not field.validators
        # Of marshmallow 4.
        and not getattr(field, "pre_load", ())
        and not getattr(field, "post_load", ())
    )


class AliasedSchema(StructSchema):
    """The schema of a `Struct` with renamed fields.

    A class of its own: what has no aliases is read as fast as before.
    """

    def load(self, data: Any, *, many: bool | None = None, **kwargs: Any) -> Any:
        """As `StructSchema.load`; an earlier name counts where the message has not the new one."""
        if isinstance(data, dict):
            data = self._with_new_names(data)
        return super().load(data, many=many, **kwargs)

    def _with_new_names(self, data: dict[str, Any]) -> dict[str, Any]:
        found = data
        for alias, name in self._aliases:
            if alias in data and name not in found:
                found = {**found, name: data[alias]}
        return found

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._aliases = tuple(
            (alias, _wire_name(self.struct, name))
            for name, marks in self.struct.__marks__.items()
            for alias in marks.aliases
        )


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Struct:
    """An immutable object of typed fields: part of an event, or an event.

    The constructor takes the fields as keywords and validates them; an instance is therefore
    always valid. Fields are annotations, with a default where they have one::

        class Address(Struct):
            street: str
            country: str = "DE"

    Raises
    ------
    ValidationError
        From the constructor: a field is missing, unknown or has a value of the wrong type.
    DeclarationError
        From the class statement: a field has a type that has no form on the wire.
    """

    __schema__: ClassVar[StructSchema]
    __declared__: ClassVar[dict[str, marshmallow.fields.Field[Any]]] = {}
    __defaults__: ClassVar[dict[str, Any]] = {}
    __marks__: ClassVar[dict[str, Marks]] = {}
    #: Whether a field is deprecated, here or in a struct inside, or the event itself.
    __deprecates__: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _declare_fields(cls, _namespace_of_caller())
        cls.__deprecates__ = any(mark.deprecated for mark in cls.__marks__.values()) or any(
            _deprecates(field) for field in cls.__declared__.values()
        )
        cls.__schema__ = StructSchema.of(cls, cls.__declared__)

    def __init__(self, /, **values: Any) -> None:
        cls = type(self)
        known = cls.__schema__.fields
        errors: dict[str, object] = {key: ["Unknown field."] for key in values if key not in known}
        state = self.__dict__
        for name in known:
            if name in values:
                state[name] = _owned(values[name])
            elif name in cls.__defaults__:
                default = cls.__defaults__[name]
                state[name] = default() if callable(default) else default
            else:
                errors[name] = ["Missing data for required field."]
        if errors:
            raise _invalid(cls, errors)
        self.__wire__()

    def __wire__(self) -> dict[str, Any]:
        """Return the fields as JSON-ready values, validated."""
        try:
            wire: dict[str, Any] = type(self).__schema__.dump(self)
        except marshmallow.ValidationError as error:
            raise _invalid(type(self), error) from None
        return wire

    @classmethod
    def __read__(cls, data: Any) -> Self:
        """Return the struct that the JSON value `data` describes; unknown fields are ignored."""
        try:
            struct: Self = cls.__schema__.load(data)
        except marshmallow.ValidationError as error:
            raise _invalid(cls, error) from None
        return struct

    @classmethod
    def __read_strict__(cls, data: Any) -> Self:
        """Like `__read__`, for data that a person wrote: an unknown field is an error."""
        unknown = _unknown_fields(fields.StructField(cls), data)
        if unknown:
            raise _invalid(cls, unknown)
        return cls.__read__(data)

    @classmethod
    def __from_valid__(cls, values: dict[str, Any]) -> Self:
        self = cls.__new__(cls)
        self.__dict__.update(values)
        return self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), _hashable(self.__dict__)))

    def __repr__(self) -> str:
        body = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({body})"


def _deprecates(field: marshmallow.fields.Field[Any]) -> bool:
    if isinstance(field, fields.List):
        return _deprecates(field.inner)
    if isinstance(field, fields.Mapping):
        return _deprecates(field.values)
    return isinstance(field, fields.StructField) and field.struct.__deprecates__


def _unknown_fields(field: marshmallow.fields.Field[Any], value: Any) -> dict[str, Any]:
    """The fields in `value`, at any depth, that `field` does not declare, as errors."""
    found: dict[str, Any] = {}
    if isinstance(field, fields.StructField) and isinstance(value, dict):
        known = {f.data_key or name: f for name, f in field.struct.__schema__.fields.items()}
        for name, marks in field.struct.__marks__.items():
            known.update(dict.fromkeys(marks.aliases, field.struct.__declared__[name]))
        for key, item in value.items():
            errors = _unknown_fields(known[key], item) if key in known else ["Unknown field."]
            if errors:
                found[key] = errors
    elif isinstance(field, fields.List) and isinstance(value, list):
        inner = {str(n): _unknown_fields(field.inner, item) for n, item in enumerate(value)}
        found = {key: errors for key, errors in inner.items() if errors}
    elif isinstance(field, fields.Mapping) and isinstance(value, dict):
        inner = {key: _unknown_fields(field.values, item) for key, item in value.items()}
        found = {key: errors for key, errors in inner.items() if errors}
    return found


class Event(Struct):
    """An immutable fact in the past tense, named by its routing key.

    Parameters of the class statement
    ---------------------------------
    name:
        The event's name: CloudEvents ``type`` and AMQP routing key, dot-separated words,
        at most 255 bytes. A class without a name is a base for others.
    source:
        The service that publishes it, where that is another one: its contract is theirs, this class
        only reads. Without it the event is this service's own.
    major:
        A breaking change needs another one. 2 and more become part of the name:
        ``name="order.paid", major=2`` is the event ``order.paid.v2``.
    format:
        Of the body and the contract: ``"json"``, ``"avro"`` or ``"protobuf"``.
    style, reason:
        ``"thin"``, or ``"snapshot"`` and why its consumers need a copy (docs/thin-events.md).
    deprecated:
        A `Deprecated`, where the event is to go away.

    `format`, `style` and `reason` are taken over from a base that says them.

    Example::

        class OrderPaid(Event, name="order.paid"):
            order_id: UUID
            paid_at: datetime
    """

    __event_name__: ClassVar[str] = ""
    __source__: ClassVar[str | None] = None
    __major__: ClassVar[int] = 1
    # Not `__format__`, which Python calls for f"{event}".
    __wire_format__: ClassVar[str] = "json"
    __style__: ClassVar[str] = "thin"
    __reason__: ClassVar[str] = ""
    __deprecated__: ClassVar[Deprecated | None] = None
    __upcasters__: ClassVar[dict[int, Upcaster]] = {}

    def __init_subclass__(
        cls,
        *,
        name: str = "",
        source: str | None = None,
        major: int | None = None,
        format: str | None = None,
        style: str | None = None,
        reason: str | None = None,
        deprecated: Deprecated | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if name:
            check_event_name(name)
            name, cls.__major__ = name_of_major(name, major)
            check_event_name(name)
        elif major is not None:
            raise DeclarationError(f"{cls.__qualname__} has a major but no name")
        cls.__source__ = source
        if format is not None:
            cls.__wire_format__ = _one_of("format", format, FORMATS, cls)
        if style is not None:
            cls.__style__ = style
        if reason is not None:
            cls.__reason__ = reason
        if deprecated is not None and not isinstance(deprecated, Deprecated):
            raise DeclarationError(
                f"{cls.__qualname__} has deprecated={deprecated!r:.80}; "
                f"use Deprecated('2027-01-01', 'use …')"
            )
        cls.__deprecated__ = deprecated
        cls.__deprecates__ = cls.__deprecates__ or deprecated is not None
        cls.__upcasters__ = {}
        if name:
            thin.check(cls, name)
        # Last: a class that is refused is no event, though it lives on until it is collected.
        cls.__event_name__ = name

    @classmethod
    def upcast(cls, *, from_version: int) -> Callable[[Upcaster], Upcaster]:
        """Declare how data of an earlier version of the contract become those of the next.

        The function is given the data in their JSON form and returns them, changed. From version 1
        to 3 the upcasters of 1 and 2 run, one after the other. Each version up to the last that has
        one needs one: a message that would skip a step is parked.

        Raises
        ------
        DeclarationError
            `from_version` is no version, or has an upcaster already.

        Example::

            @OrderPaid.upcast(from_version=1)
            def _(data: dict[str, Any]) -> dict[str, Any]:
                return {**data, "currency": "EUR"}
        """
        if type(from_version) is not int or from_version < 1:
            raise DeclarationError(
                f"{cls.__qualname__}.upcast(from_version={from_version!r:.40}): versions are 1, 2 …"
            )
        if from_version in cls.__upcasters__:
            raise DeclarationError(
                f"{cls.__qualname__} has an upcaster from version {from_version} already"
            )

        def declare(upcaster: Upcaster) -> Upcaster:
            if not callable(upcaster) or inspect.iscoroutinefunction(upcaster):
                raise DeclarationError(
                    f"{cls.__qualname__}.upcast: {upcaster!r:.80} is no plain function of a dict"
                )
            cls.__upcasters__[from_version] = upcaster
            return upcaster

        return declare


def _one_of(keyword: str, given: str, allowed: tuple[str, ...], cls: type) -> str:
    if given not in allowed:
        raise DeclarationError(
            f"{cls.__qualname__} has {keyword}={given!r:.80}; use {' or '.join(allowed)}"
        )
    return given


AnyEvent = TypeVar("AnyEvent", bound=Event)


def named_events() -> dict[str, type[Event]]:
    """Every event class with a name that this process has declared; the latest wins.

    One that only reads another service's event does not win over the one that is published.
    """
    found: dict[str, type[Event]] = {}

    def visit(cls: type[Event]) -> None:
        for subclass in cls.__subclasses__():
            name = subclass.__event_name__
            known = found.get(name)
            if name and (known is None or known.__source__ or not subclass.__source__):
                found[name] = subclass
            visit(subclass)

    visit(Event)
    return found
