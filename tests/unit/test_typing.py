"""A type checker knows the arguments of an event's constructor and of the bus."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

APPLICATION = Path(__file__).parent / "typed" / "application.py"

pytest.importorskip("mypy", reason="mypy comes with the extra 'lint'")


def mypy(file: Path, folder: Path) -> str:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={folder}", file],
        capture_output=True,
        text=True,
        check=False,
    )
    # Errors inside the package are another check's.
    return "\n".join(line for line in checked.stdout.splitlines() if file.name in line)


def test_a_type_checker_refuses_what_the_constructor_refuses_and_nothing_else(
    tmp_path: Path,
) -> None:
    assert mypy(APPLICATION, tmp_path / "cache") == ""
    # And it really looks: without the ignores, each of those lines is an error.
    bare = tmp_path / "bare.py"
    text = APPLICATION.read_text()
    expected = [n for n, line in enumerate(text.splitlines(), 1) if "# type: ignore[" in line]
    bare.write_text(re.sub(r"  # type: ignore\[.*\]", "", text))
    found = {int(n) for n in re.findall(r"bare\.py:(\d+): error", mypy(bare, tmp_path / "cache"))}
    assert sorted(found) == expected
