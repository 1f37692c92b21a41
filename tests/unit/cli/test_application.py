"""``-A``: what it finds, and what it says where it finds nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus import EventBus
from eventbus.cli.application import find_bus
from eventbus.errors import ApplicationNotFound, ConfigurationError, DeclarationError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder; what is imported from it is forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.split(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "shop":
            del sys.modules[name]


def write(folder: Path, text: str, name: str = "shop.py") -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


TWO = "from eventbus import EventBus\nevents = EventBus('one')\nother = EventBus('two')\n"


@pytest.mark.parametrize("name", ["shop:bus", "shop"])
def test_the_current_folder_is_importable(folder: Path, name: str) -> None:
    write(folder, "from eventbus import EventBus\nbus = EventBus('shop')\n")
    assert find_bus(name).service == "shop"


def test_a_module_alone_means_its_only_bus_whatever_it_is_called(folder: Path) -> None:
    write(folder, "from eventbus import EventBus\nevents = EventBus('shop')\nsame = events\n")
    assert find_bus("shop").service == "shop"


def test_of_several_the_one_called_bus_is_meant(folder: Path) -> None:
    write(folder, TWO + "bus = EventBus('three')\n")
    assert find_bus("shop").service == "three"


def test_of_several_without_that_name_none_is_guessed(folder: Path) -> None:
    write(folder, TWO)
    with pytest.raises(ApplicationNotFound, match="use -A shop:events or -A shop:other"):
        find_bus("shop")


def test_a_package_and_an_attribute_of_an_attribute(folder: Path) -> None:
    write(folder, "", "shop/__init__.py")
    code = "from eventbus import EventBus\nclass app:\n    bus = EventBus('shop')\n"
    write(folder, code, "shop/wiring.py")
    assert isinstance(find_bus("shop.wiring:app.bus"), EventBus)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("shopp:bus", "", "there is no module 'shopp'"),
        ("shop.missing:bus", "", "there is no module 'shop.missing'"),
        ("shop:bus", "x = 1", "'shop' has no attribute 'bus'; there is no EventBus in 'shop'"),
        ("shop:x", "x = 1", "'x' is of type int, not an EventBus; there is no EventBus in 'shop'"),
        ("shop:nope", TWO, "has no attribute 'nope'; use -A shop:events or -A shop:other"),
        ("shop", "x = 1", "there is no EventBus in 'shop'"),
        ("shop:bus", "1 / 0", "importing 'shop' failed: ZeroDivisionError: division by zero"),
        ("shop:bus", "import nothing_such", "No module named 'nothing_such'"),
        ("shop:bus", "def broken(:\n", "importing 'shop' failed: SyntaxError"),
        ("shop:bus", "raise SystemExit(7)", "importing 'shop' failed: SystemExit: 7"),
        ("shop.py", "", "'shop.py' is a path; write the module's name, -A shop"),
        ("./shop.py:bus", "", "write the module's name, -A shop"),
        ("src/shop.py", "", "write the module's name, -A src.shop"),
        ("", "", "'' is no module's name; write -A MODULE:ATTR"),
        (":bus", "", "'' is no module's name"),
        ("shop:", "", "'' is no attribute's name; write -A shop:bus"),
        ("shop:bus()", "", "'bus()' is no attribute's name"),
        ("shop;rm:bus", "", "'shop;rm' is no module's name"),
        ("..shop:bus", "", "write the module's name, -A shop"),
    ],
)
def test_what_is_wrong_is_said(folder: Path, name: str, code: str, said: str) -> None:
    write(folder, code)
    with pytest.raises(ApplicationNotFound) as caught:
        find_bus(name)
    assert said in str(caught.value)
    assert repr(name) in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_failed_import_tells_the_place(folder: Path) -> None:
    write(folder, "\n\nraise RuntimeError('first line\\nsecond')\n")
    with pytest.raises(ApplicationNotFound, match=r"shop\.py, line 3\)"):
        find_bus("shop:bus")


def test_our_own_errors_in_it_speak_for_themselves(folder: Path) -> None:
    write(folder, "from eventbus import EventBus\nbus = EventBus('shop', exchange='')\n")
    with pytest.raises(ConfigurationError, match="exchange"):
        find_bus("shop:bus")


def test_two_handlers_of_one_name_are_refused_with_both_places(folder: Path) -> None:
    write(
        folder,
        """
from eventbus import EventBus
bus = EventBus("shop")
def charge(event): ...
bus.handler("order.paid", queue="a")(charge)
bus.handler("order.paid", queue="b", name="charge")(lambda event: None)
""",
    )
    with pytest.raises(DeclarationError, match=r"shop\.charge and shop\.<lambda>") as caught:
        find_bus("shop:bus")
    assert caught.value.exit_code == 2
