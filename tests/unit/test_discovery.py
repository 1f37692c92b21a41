"""Modules with handlers are found, their errors are shown, and shared handlers get a bus."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventbus import Event, EventBus, Retry, shared_handler
from eventbus.errors import DeclarationError
from eventbus.shared_handlers import declared_in


class Noted(Event, name="discovery.noted"):
    """An event."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable folder; what was imported of it is forgotten."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    for parent in reversed(path.relative_to(folder).parents[:-1]):
        (folder / parent).mkdir(exist_ok=True)
        (folder / parent / "__init__.py").touch()
    path.write_text(text)


AUDITING = """
from eventbus import Event, shared_handler

@shared_handler("#", queue="audit")
def record(event: Event) -> None: ...
"""


def test_modules_with_handlers_are_imported_and_others_are_not_missed(folder: Path) -> None:
    write(folder, "found_a/handlers.py", "import found_a.other")
    write(folder, "found_a/other.py", "")
    write(folder, "found_b/models.py", "1 / 0")
    write(folder, "found_c/sub/handlers.py", "")
    found = EventBus("shop").autodiscover("found_a", "found_b", "found_c.sub")
    assert found == ["found_a.handlers", "found_c.sub.handlers"]
    assert "found_a.other" in sys.modules
    assert "found_b.models" not in sys.modules


def test_the_module_may_have_another_name(folder: Path) -> None:
    write(folder, "found_d/subscribers.py", "")
    assert EventBus("shop").autodiscover("found_d", module="subscribers") == ["found_d.subscribers"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import nowhere_to_be_found", ModuleNotFoundError),
        ("import eventbus.nothing_of_ours", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def broken(:", SyntaxError),
    ],
)
def test_an_error_inside_a_found_module_is_shown(
    folder: Path, text: str, error: type[Exception]
) -> None:
    write(folder, "broken_package/handlers.py", text)
    with pytest.raises(error):
        EventBus("shop").autodiscover("broken_package")


def test_an_error_inside_the_package_itself_is_shown(folder: Path) -> None:
    write(folder, "broken_root/__init__.py", "import nowhere_to_be_found")
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        EventBus("shop").autodiscover("broken_root")


@pytest.mark.parametrize(
    ("package", "text"),
    [
        ("no_such_package", "there is no package 'no_such_package'"),
        ("json.nothing", "there is no package 'json.nothing'"),
        ("json.decoder", "'json.decoder' is a module, not a package"),
        ("", "is no module's name"),
        (".relative", "is no module's name"),
    ],
)
def test_a_package_that_is_none_is_refused_by_its_name(package: str, text: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        EventBus("shop").autodiscover(package)
    assert text in str(caught.value)


def test_without_packages_and_without_django_it_says_what_to_give() -> None:
    with pytest.raises(DeclarationError, match=r"bus.autodiscover\('shop.orders'\)"):
        EventBus("shop").autodiscover()


def test_a_shared_handler_gets_the_bus_that_discovers_its_package_and_no_other(
    folder: Path,
) -> None:
    write(folder, "auditing/handlers.py", AUDITING)
    retry = Retry(max_attempts=7)
    shop, other = EventBus("shop", retry=retry), EventBus("other")
    shop.autodiscover("auditing")
    assert shop.handlers["record"].retry is retry
    assert shop.subscription("audit").queue == "shop.audit"
    assert other.handlers == {}
    shop.autodiscover("auditing")
    assert len(shop.handlers) == 1
    other.autodiscover("auditing")
    assert other.subscription("audit").queue == "other.audit"


def test_shared_handlers_of_a_package_are_found_wherever_in_it_they_are(folder: Path) -> None:
    write(folder, "auditing_deep/handlers.py", "import auditing_deep.parts.records")
    write(folder, "auditing_deep/parts/records.py", AUDITING)
    write(folder, "auditing_deeper/handlers.py", "")
    bus = EventBus("shop")
    bus.autodiscover("auditing_deeper")
    bus.autodiscover("auditing_deep")
    assert list(bus.handlers) == ["record"]


def test_a_shared_handler_has_the_options_of_any_other() -> None:
    @shared_handler(Noted, name="shared", queue="q", transactional=True, rate_limit="5/s")
    def react(event: Noted) -> None: ...

    [one] = declared_in(__name__)
    bus = EventBus("shop")
    bus.handler(*one.patterns, **one.options)(one.function)
    assert bus.handlers["shared"].transactional
    assert react is one.function


def test_what_cannot_be_a_handler_is_refused_where_it_is_shared() -> None:
    with pytest.raises(DeclarationError, match="contains 'yield'"):

        @shared_handler("discovery.noted")
        def react(event: Noted) -> Iterator[None]:
            yield

    with pytest.raises(DeclarationError, match="rate_limit"):
        shared_handler("discovery.noted", name="noted", rate_limit="0/s")(lambda event: None)
    with pytest.raises(DeclarationError, match="queue name 'a b'"):
        shared_handler("discovery.noted", name="noted", queue="a b")(lambda event: None)


def test_two_of_the_same_name_meet_at_the_bus(folder: Path) -> None:
    write(folder, "auditing_twice/handlers.py", AUDITING)
    bus = EventBus("shop")

    @bus.handler("discovery.noted", name="record")
    def react(event: Noted) -> None: ...

    with pytest.raises(DeclarationError, match="two handlers are called 'record'"):
        bus.autodiscover("auditing_twice")
