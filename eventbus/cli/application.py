"""Finds the application: ``-A module:attr``, ``EVENTBUS_APP``, or the settings alone."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eventbus.errors import ApplicationNotFound, EventBusError, UnknownName

if TYPE_CHECKING:
    from eventbus.bus import EventBus

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: The service's name where no application is named; it names no queue, as none is declared.
NO_SERVICE = "eventbus"

#: The settings that address a server, as the environment has them.
DATABASE = "EVENTBUS_DATABASE_URL"
BROKER = "EVENTBUS_BROKER_URL"
REDIS = "EVENTBUS_REDIS_URL"
REGISTRY = "EVENTBUS_REGISTRY_URL"


@dataclass
class Application:
    """What the command line knows of the application; one for the whole call.

    Parameters
    ----------
    name:
        ``module:attr`` or ``module``, as given.
    """

    name: str | None = None
    bus: EventBus | None = None


def application_option(command: _Function) -> _Function:
    """Add ``-A``. Every command has it, so that it is accepted before and after its name."""
    return click.option(
        "-A",
        "--app",
        metavar="MODULE[:ATTR]",
        expose_value=False,
        callback=_remember,
        help="The application's EventBus, such as shop.bus:bus.  [env: EVENTBUS_APP]",
    )(command)


def _remember(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    application = ctx.ensure_object(Application)
    if value is not None:
        application.name = value


def the_bus() -> EventBus:
    """The application's bus.

    Raises
    ------
    ApplicationNotFound
        None is named, or what is named is none.
    """
    bus = _named_bus()
    if bus is None:
        raise ApplicationNotFound(
            "no application is named; give -A MODULE:ATTR before or after the command, or set "
            "EVENTBUS_APP, such as -A shop.bus:bus"
        )
    return bus


def bus_or_settings(*variables: str) -> EventBus:
    """The application's bus, or one without handlers for the settings in the environment.

    For commands that need servers only. A server must be named: a forgotten ``-A`` would otherwise
    work on the default, a new file in the current folder.

    Parameters
    ----------
    variables:
        One of these must be set where no application is named.

    Raises
    ------
    ApplicationNotFound
        Neither is.
    """
    bus = _named_bus()
    if bus is not None:
        return bus
    if not any(os.environ.get(variable) for variable in variables):
        raise ApplicationNotFound(
            f"no application is named; give -A MODULE:ATTR (or set EVENTBUS_APP), or set "
            f"{' or '.join(variables)}"
        )
    from eventbus.bus import EventBus

    return EventBus(NO_SERVICE)


def is_named() -> bool:
    """Whether an application is named, rightly or not."""
    application = _application()
    return application.bus is not None or bool(application.name)


def application_name() -> str | None:
    """How the application was named: ``module`` or ``module:attribute``."""
    return _application().name


def full_queue_name(bus: EventBus, queue: str) -> str:
    """The full name of `queue`: of a subscription, or one that is no longer declared.

    Raises
    ------
    UnknownName
        It is no full name, and the application declares none of that name.
    """
    try:
        return bus.subscription(queue).queue
    except UnknownName:
        if "." in queue:
            return queue
        if is_named():
            raise
        raise UnknownName(
            f"{queue!r} is no full name of a queue, such as shop.billing; or name the application "
            f"with -A"
        ) from None


def _application() -> Application:
    return click.get_current_context().ensure_object(Application)


def _named_bus() -> EventBus | None:
    application = _application()
    if application.bus is None and application.name:
        application.bus = find_bus(application.name)
    if application.bus is not None:
        from eventbus.bus import discover_installed

        discover_installed(application.bus)
    return application.bus


def find_bus(name: str) -> EventBus:
    """Import the application and return its bus.

    Parameters
    ----------
    name:
        ``module:attr``; with ``module`` alone the one bus in it, an attribute ``bus`` first. The
        current folder is importable.

    Raises
    ------
    ApplicationNotFound
        The text says which part of `name` is wrong, with the last line of what went wrong.
    """
    module_name, colon, attribute = name.partition(":")
    path = module_name.endswith(".py")
    if path or not all(part.isidentifier() for part in module_name.split(".")):
        raise ApplicationNotFound(f"-A {name!r}: {_not_a_module(module_name)}")
    if colon and not all(part.isidentifier() for part in attribute.split(".")):
        raise ApplicationNotFound(
            f"-A {name!r}: {attribute!r} is no attribute's name; write -A {module_name}:bus"
        )
    module = _import(module_name, name)
    return _attribute(module, attribute, name) if colon else _only_bus(module, name)


def _not_a_module(text: str) -> str:
    stem = text[:-3] if text.endswith(".py") else text
    guess = stem.strip("./").replace("/", ".")
    if guess != text and guess and all(part.isidentifier() for part in guess.split(".")):
        return f"{text!r} is a path; write the module's name, -A {guess}"
    return f"{text!r} is no module's name; write -A MODULE:ATTR, such as -A shop.bus:bus"


def _import(module_name: str, name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(module_name)
    except EventBusError:
        raise  # a declaration or a setting in it; says itself what is wrong
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ApplicationNotFound(
                f"-A {name!r}: there is no module {error.name!r} in {folder} or on the Python path"
            ) from error
        raise ApplicationNotFound(_import_failed(module_name, name, error)) from error
    except (Exception, SystemExit) as error:
        raise ApplicationNotFound(_import_failed(module_name, name, error)) from error


def _import_failed(module_name: str, name: str, error: BaseException) -> str:
    lines = traceback.format_exception_only(type(error), error)
    text = f"-A {name!r}: importing {module_name!r} failed: {lines[-1].strip()}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and "importlib" not in frame.filename
    ]
    # The first frame is ours.
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames[1:] else text


def _attribute(module: ModuleType, attribute: str, name: str) -> EventBus:
    from eventbus.bus import EventBus

    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ApplicationNotFound(
                f"-A {name!r}: {module.__name__!r} has no attribute {attribute!r}; "
                f"{_buses_of(module)}"
            ) from None
    if not isinstance(value, EventBus):
        raise ApplicationNotFound(
            f"-A {name!r}: {attribute!r} is of type {type(value).__name__}, not an EventBus; "
            f"{_buses_of(module)}"
        )
    return value


def _only_bus(module: ModuleType, name: str) -> EventBus:
    found = _found_buses(module)
    if "bus" in found:
        return found["bus"]
    distinct = {id(bus): bus for bus in found.values()}
    if len(distinct) != 1:
        raise ApplicationNotFound(f"-A {name!r}: {_buses_of(module)}")
    return next(iter(distinct.values()))


def _found_buses(module: ModuleType) -> dict[str, EventBus]:
    from eventbus.bus import EventBus

    return {
        attribute: value for attribute, value in vars(module).items() if isinstance(value, EventBus)
    }


def _buses_of(module: ModuleType) -> str:
    found = sorted(_found_buses(module))
    if not found:
        return f"there is no EventBus in {module.__name__!r}"
    choices = " or ".join(f"-A {module.__name__}:{attribute}" for attribute in found)
    return f"use {choices}"
