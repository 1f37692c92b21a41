"""The command line: ``eventbus [-A module:attr] COMMAND``.

`root` finds the command and turns errors into exit codes, `application` finds the bus, `options`
holds the kinds of values, `terminal` prints. Every other module is one command or one group of
commands, imported only when it is called.
"""

from eventbus.cli.root import main

__all__ = ["main"]
