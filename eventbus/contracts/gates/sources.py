"""Where a class is written: the file and the line that an annotation in a review points to."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a file.

    Parameters
    ----------
    file:
        Relative to the current folder where it is inside, with ``/``; else absolute.
    line:
        1 for the first.
    """

    file: str
    line: int


def location_of(cls: type) -> Location | None:
    """Where the class statement of `cls` begins; None where no file tells."""
    try:
        file = inspect.getsourcefile(cls)
    except (TypeError, OSError):
        return None
    if file is None or not Path(file).is_file():
        return None
    return Location(shown_path(file), _class_lines(file).get(cls.__qualname__, 1))


def shown_path(file: str | Path) -> str:
    """`file` as `Location.file` has it."""
    path = Path(file).absolute()
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.as_posix()


@lru_cache(maxsize=256)
def _class_lines(file: str) -> dict[str, int]:
    """Qualified name to line of the classes in `file`; the last one of a name counts."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError):
        return {}
    found: dict[str, int] = {}
    _visit(tree, "", found)
    return found


def _visit(node: ast.AST, prefix: str, found: dict[str, int]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            found[prefix + child.name] = child.lineno
            _visit(child, f"{prefix}{child.name}.", found)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            _visit(child, f"{prefix}{child.name}.<locals>.", found)
        elif isinstance(child, ast.stmt):
            _visit(child, prefix, found)
