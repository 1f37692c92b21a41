"""``eventbus`` itself: finds the command, and turns every error into one sentence and a code.

Exit codes: 0 done or drained, 1 failed or killed, 2 usage or import error, 3 a server cannot be
reached, 4 a check found a difference. Every `EventBusError` knows its own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from eventbus.cli.application import Application, application_option
from eventbus.cli.terminal import print_error
from eventbus.errors import EventBusError

if TYPE_CHECKING:
    from eventbus.bus import EventBus

#: Modules of this package, in the order in which ``--help`` lists them; each has a `command`.
COMMANDS = (
    "run",
    "dispatcher",
    "worker",
    "db",
    "topology",
    "outbox",
    "dlq",
    "operations",
    "replay",
    "queue",
    "status",
    "top",
    "events",
    "asyncapi",
    "schema",
    "doctor",
    "demo",
)

_FAILED = 1
_USAGE = 2


class Root(click.Group):
    """The group of all commands. A command's module is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"eventbus.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, but it ends with the exit codes of eventbus and without a traceback."""
        kwargs["standalone_mode"] = False
        sys.exit(exit_code_of(lambda: super(Root, self).main(*args, **kwargs)))


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from eventbus import __version__

        click.echo(f"eventbus {__version__}")
        ctx.exit()


@click.group(
    cls=Root,
    context_settings={"auto_envvar_prefix": "EVENTBUS", "help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the version and exit.",
)
@application_option
@click.pass_context
def root(ctx: click.Context) -> None:
    """Event-driven boundaries for Python services on RabbitMQ.

    Name the application with -A, before or after the command, or in EVENTBUS_APP. Every option
    is also read from the environment: worker's --concurrency from EVENTBUS_WORKER_CONCURRENCY.

    Exit codes: 0 done, 1 failed, 2 usage or import error, 3 a server cannot be reached,
    4 a check found a difference.
    """
    ctx.ensure_object(Application)


def main(arguments: Sequence[str] | None = None, *, bus: EventBus | None = None) -> None:
    """Run ``eventbus`` with `arguments` (default: the command line's) and exit the process.

    Parameters
    ----------
    bus:
        The application, for callers that have it already, as a ``manage.py``; else ``-A`` names it.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character must not stop a command half-way.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    root.main(
        args=None if arguments is None else list(arguments),
        prog_name="eventbus",
        obj=Application(bus=bus),
    )


def exit_code_of(call: Callable[[], Any]) -> int:
    """Run `call`; the one place where errors become a sentence and an exit code."""
    try:
        result = call()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        return _report_click(error)
    except click.Abort:
        print_error("aborted; nothing was done")
        return _FAILED
    except EventBusError as error:
        _show_traceback(error)
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("interrupted")
        return _FAILED
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does; Python would complain at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED
    except Exception as error:
        _show_traceback(error)
        print_error(
            f"unexpected {type(error).__name__}: {error}; this is a defect of eventbus. "
            f"EVENTBUS_DEBUG=1 shows the traceback"
        )
        return _FAILED
    return result if isinstance(result, int) else 0


def _report_click(error: click.ClickException) -> int:
    print_error(error.format_message())
    context = getattr(error, "ctx", None)
    if isinstance(error, click.UsageError) and context is not None:
        click.echo(f"Try '{context.command_path} --help'.", err=True)
    # click ends with 1 where a file cannot be opened; to us that is a wrong argument as well.
    return _USAGE


def _show_traceback(error: BaseException) -> None:
    if not debugging():
        return
    import traceback

    from eventbus.cli.terminal import safe_lines

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    click.echo(safe_lines(text), err=True)


def debugging() -> bool:
    """Whether tracebacks are wanted: ``EVENTBUS_DEBUG=1``, or the log level is DEBUG."""
    if os.environ.get("EVENTBUS_DEBUG", "") not in ("", "0"):
        return True
    logging = sys.modules.get("logging")
    return logging is not None and logging.getLogger().level == logging.DEBUG
