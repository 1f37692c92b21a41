"""Finds the modules of an application that declare handlers."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable

from eventbus.errors import DeclarationError


def import_modules(packages: Iterable[str], module: str) -> list[str]:
    """Import ``<package>.<module>`` of each package that has one; returns their names.

    What such a module raises is not caught: a handler that is not declared would be missed late.

    Raises
    ------
    DeclarationError
        A package does not exist.
    """
    names = [f"{package}.{module}" for package in packages if _has(package, module)]
    for name in names:
        importlib.import_module(name)
    return names


def _has(package: str, module: str) -> bool:
    name = f"{package}.{module}"
    if not all(part.isidentifier() for part in name.split(".")):
        raise DeclarationError(f"autodiscover: {name!r} is no module's name")
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name == name:
            raise DeclarationError(
                f"autodiscover: {package!r} is a module, not a package with a module {module!r}"
            ) from None
        if error.name and f"{package}.".startswith(f"{error.name}."):
            raise DeclarationError(
                f"autodiscover: there is no package {error.name!r} on the Python path"
            ) from None
        raise  # something that the package itself imports
