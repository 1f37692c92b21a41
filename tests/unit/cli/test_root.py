"""Every error becomes one sentence and the exit code of design; a traceback only when asked for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from eventbus import errors
from eventbus.cli import root as module
from eventbus.cli.root import COMMANDS, Root, root


def raising(error: BaseException) -> Root:
    """``eventbus fail``, which raises `error`."""

    class One(Root):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            return click.Group.get_command(self, ctx, cmd_name)

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            return click.Group.resolve_command(self, ctx, args)

    group = One("eventbus")

    @group.command("fail")
    def fail() -> None:
        raise error

    return group


def run(group: click.Group, *arguments: str) -> Result:
    return CliRunner().invoke(group, arguments)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.EventBusError("it is so"), 1),
        (errors.ConfigurationError("it is so"), 2),
        (errors.ApplicationNotFound("it is so"), 2),
        (errors.ValidationError("it is so"), 2),
        (errors.UnknownName("it is so"), 2),
        (errors.BrokerUnavailable("it is so"), 3),
        (errors.DatabaseUnavailable("it is so"), 3),
        (errors.IdempotencyStoreUnavailable("it is so"), 3),
        (errors.TopologyMismatch("it is so"), 4),
        (errors.DatabaseNotMigrated("it is so"), 4),
        (click.UsageError("it is so"), 2),
        (click.FileError("x", "it is so"), 2),
        (click.exceptions.Exit(4), 4),
        (click.Abort(), 1),
        (KeyboardInterrupt(), 1),
        (RuntimeError("it is so"), 1),
    ],
)
def test_an_error_ends_with_its_code_and_no_traceback(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVENTBUS_DEBUG", raising=False)
    result = run(raising(error), "fail")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    if "it is so" in str(error):
        assert "it is so" in result.output
        assert result.output.startswith("error: ")


def test_a_defect_shows_its_traceback_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTBUS_DEBUG", "1")
    result = run(raising(RuntimeError("amqp://u:hunter2@h\x1b[31m")), "fail")
    assert result.exit_code == 1
    assert "Traceback" in result.output
    assert "hunter2" not in result.output
    assert "\x1b" not in result.output


def test_a_defect_says_how_to_see_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENTBUS_DEBUG", raising=False)
    assert "EVENTBUS_DEBUG=1" in run(raising(ZeroDivisionError("x")), "fail").output


def test_no_error_shows_a_password_or_acts_on_the_terminal() -> None:
    error = errors.BrokerUnavailable("amqp://u:hunter2@h is away\x1b[31m\u202e")
    output = run(raising(error), "fail").output
    assert "u:***@h" in output
    assert "\\x1b[31m\\u202e" in output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = run(root, name, "--help")
    assert result.exit_code == 0, result.output
    assert len(result.output) > 100


def test_an_unknown_command_names_the_nearest() -> None:
    result = run(root, "wroker")
    assert result.exit_code == 2
    assert "did you mean 'worker'?" in result.output


def test_an_unknown_command_far_from_all_lists_them() -> None:
    result = run(root, "xyz")
    assert result.exit_code == 2
    assert all(name in result.output for name in COMMANDS)


def test_the_version_is_printed() -> None:
    from eventbus import __version__

    assert run(root, "--version").output == f"eventbus {__version__}\n"


@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("before", ("-A", "nowhere:bus", "events", "list")),
        ("after the group", ("events", "-A", "nowhere:bus", "list")),
        ("after the command", ("events", "list", "-A", "nowhere:bus")),
        ("last wins", ("-A", "other:bus", "events", "list", "-A", "nowhere:bus")),
    ],
)
def test_the_application_is_named_before_or_after_the_command(
    place: str, arguments: tuple[str, ...]
) -> None:
    result = run(root, *arguments)
    assert result.exit_code == 2
    assert "there is no module 'nowhere'" in result.output


def test_the_application_is_named_by_the_environment() -> None:
    result = CliRunner(env={"EVENTBUS_APP": "nowhere:bus"}).invoke(root, ["events", "list"])
    assert "there is no module 'nowhere'" in result.output
    result = CliRunner(env={"EVENTBUS_APP": "other:bus"}).invoke(
        root, ["-A", "nowhere:bus", "events", "list"]
    )
    assert "there is no module 'nowhere'" in result.output


@pytest.mark.parametrize(
    "command", ["run", "dispatcher", "worker", "db", "outbox", "dlq", "events", "doctor"]
)
def test_a_command_loads_no_more_than_it_needs_to_explain_itself(command: str) -> None:
    heavy = ("sqlalchemy", "pika", "kombu", "rich", "redis", "django", "flask", "asyncio")
    code = (
        "import sys\n"
        "from eventbus.cli.root import root\n"
        "try: root.main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        f"print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, check=True
    )
    assert done.stderr.split() == []


def test_a_closed_pipe_ends_quietly() -> None:
    done = subprocess.run(
        f"{sys.executable} -m eventbus.cli.root --help | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_the_one_place_of_translation_is_exit_code_of() -> None:
    def fails() -> None:
        raise errors.BrokerUnavailable("away")

    call: Callable[[], None] = fails
    assert module.exit_code_of(call) == 3
    assert module.exit_code_of(lambda: None) == 0
    assert module.exit_code_of(lambda: 1) == 1
