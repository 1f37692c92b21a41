"""What is installed is what is in the repository, with no more and no less."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_folder_with_code_is_named_in_setup_cfg(
    setup_cfg: configparser.RawConfigParser,
) -> None:
    folders = {
        "eventbus": ROOT / "eventbus",
        "eventbus.workers": ROOT / "workers",
        "eventbus.sample_app": ROOT / "sample_app",
    }
    packages = {
        ".".join([name, *path.parent.relative_to(folder).parts])
        for name, folder in folders.items()
        for path in folder.rglob("*.py")
    }
    assert set(setup_cfg["options"]["packages"].split()) == packages


def test_the_extra_all_has_everything_that_an_application_can_use(
    setup_cfg: configparser.RawConfigParser,
) -> None:
    extras = set(setup_cfg["options.extras_require"])
    (names,) = re.findall(r"eventbus\[(.+)\]", setup_cfg["options.extras_require"]["all"])
    assert set(names.split(",")) == extras - {"all", "bench", "deploy", "dev", "lint", "test"}


def test_the_oldest_allowed_versions_are_those_that_are_tested(
    setup_cfg: configparser.RawConfigParser,
) -> None:
    """tests/lowest.txt, which `tox -e lowest` installs, pins the lower bounds of setup.cfg."""

    def version(text: str) -> list[int]:
        return [int(part) for part in (text + ".0.0").split(".")][:3]

    bounds = setup_cfg["options"]["install_requires"].split()
    extras = setup_cfg["options.extras_require"]
    for extra in re.findall(r"eventbus\[(.+)\]", extras["all"])[0].split(","):
        bounds += extras[extra].split()
    lowest = dict(re.sub(r"\[.+\]", "", bound).lower().split(">=") for bound in bounds)
    pins = (ROOT / "tests" / "lowest.txt").read_text().lower().split()
    pinned = dict(pin.split("==") for pin in pins)
    assert {name: version(pin) for name, pin in pinned.items()} == {
        name: version(bound) for name, bound in lowest.items()
    }


def test_the_version_is_that_of_the_installed_distribution(
    setup_cfg: configparser.RawConfigParser,
) -> None:
    assert importlib.metadata.version("eventbus") == setup_cfg["metadata"]["version"]


def test_importing_eventbus_loads_no_broker_and_no_framework() -> None:
    heavy = {"amqp", "django", "flask", "kombu", "pika", "psycopg", "redis", "rich", "sqlalchemy"}
    code = f"import sys, eventbus; print(*sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert loaded.stdout.split() == []
