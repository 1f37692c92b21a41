"""What a child is told at its start, and how it finds the application."""

from __future__ import annotations

import importlib
import pickle
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, cast

from eventbus.bus import discover_installed
from eventbus.errors import ApplicationNotFound, EventBusError
from eventbus.workers.options import WorkerOptions

if TYPE_CHECKING:
    from eventbus.bus import EventBus


@dataclass(frozen=True)
class Assignment:
    """What one child is to be.

    Parameters
    ----------
    application:
        ``module:attribute`` of the bus.
    modules:
        What else declares handlers of the bus.
    path:
        The parent's ``sys.path``.
    django:
        The parent runs in a Django project, which has to be set up first.
    log_level, log_format:
        As the parent logs.
    paused:
        Full names of the queues that are paused.
    """

    application: str
    modules: tuple[str, ...]
    path: tuple[str, ...]
    django: bool
    log_level: str
    log_format: str
    options: WorkerOptions
    paused: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls, bus: EventBus, options: WorkerOptions, application: str | None = None
    ) -> Assignment:
        """That of the children of a parent that has `bus`.

        Parameters
        ----------
        application:
            How the application was named: ``module`` or ``module:attribute``.
        """
        settings = bus.settings
        return cls(
            where_is(bus, application),
            tuple(dict.fromkeys(_declaring_modules(bus))),
            tuple(sys.path),
            _in_django(),
            settings.log_level,
            settings.log_format,
            options,
        )

    def to_text(self) -> str:
        """For the channel; only ever sent to a process of our own."""
        return pickle.dumps(self).hex()

    @staticmethod
    def from_text(text: str) -> Assignment:
        """What `to_text` gave."""
        return cast(Assignment, pickle.loads(bytes.fromhex(text)))

    def bus(self) -> EventBus:
        """Import the application.

        Raises
        ------
        ApplicationNotFound
            It cannot be imported.
        """
        sys.path[:] = self.path
        try:
            bus = _import(self.application, self.modules, self.django)
        except EventBusError:
            raise
        except (Exception, SystemExit) as error:
            line = traceback.format_exception_only(type(error), error)[-1].strip()
            raise ApplicationNotFound(f"importing {self.application!r} failed: {line}") from error
        bus.settings = replace(bus.settings, log_level=self.log_level, log_format=self.log_format)
        return bus


def where_is(bus: EventBus, named: str | None = None) -> str:
    """``module:attribute`` of `bus`, of the module that is `named` if one is.

    Raises
    ------
    ApplicationNotFound
        Another process could not import it.
    """
    if named is not None and ":" in named:
        return named
    for known_as, module in list(sys.modules.items()) if named is None else _only(named):
        name = _importable_name(known_as, module)
        for attribute, value in list(vars(module).items()) if name else ():
            if value is bus:
                return f"{name}:{attribute}"
    raise ApplicationNotFound(
        f"the processes of pool prefork import the application, but {bus!r} is not an attribute of "
        f"any module; make it one, or use another pool"
    )


def _only(name: str) -> list[tuple[str, ModuleType]]:
    return [(name, sys.modules[name])]


def _declaring_modules(bus: EventBus) -> Iterator[str]:
    for handler in bus.handlers.values():
        name = getattr(handler.function, "__module__", None)
        if name is not None and (name := _importable_name(name, sys.modules.get(name))):
            yield name


def _importable_name(name: str, module: object) -> str | None:
    if not isinstance(module, ModuleType):  # anything can be put there
        return None
    if name != "__main__":
        return name
    # `python -m shop.worker` has the name of the module; a script has none.
    spec = getattr(module, "__spec__", None)
    return None if spec is None else str(spec.name)


def _in_django() -> bool:
    apps = sys.modules.get("django.apps")
    return apps is not None and bool(apps.apps.ready)


def _import(application: str, modules: Iterable[str], django: bool) -> EventBus:
    if django:
        importlib.import_module("django").setup()
    module, _, attribute = application.partition(":")
    bus = cast("EventBus", attrgetter(attribute)(importlib.import_module(module)))
    discover_installed(bus)
    for name in modules:
        importlib.import_module(name)
    return bus
