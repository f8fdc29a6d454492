"""How every command ends: one line an error, exit code 2 where it could not begin."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from prodkit.cli.output import printable
from prodkit.errors import ConfigurationError


class Commands(TyperGroup):
    """A group whose commands raise what is wrong: it is told in a line, never as a traceback.

    What nobody foresaw is a fault of ours, and keeps its traceback: we want to see it.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit with the command's code; return it where the caller asked for that."""
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            code = _told(error.format_message(), error)
        except (ConfigurationError, OSError) as error:
            code = _told(str(error), error)
        except typer.Abort:
            code = _told("stopped", None)
        if not standalone_mode:
            return code
        sys.exit(code)


def _told(message: str, error: Exception | None) -> int:
    """Write a line; the help that stands in for a missing command is many, or written already."""
    if "\n" in message:
        typer.echo(message, err=True)
    elif message:
        typer.echo(printable(message).removesuffix(".") + _hint(error), err=True)
    return 2


def _hint(error: Exception | None) -> str:
    """Return where to read on, after a command line that was wrong."""
    path = getattr(getattr(error, "ctx", None), "command_path", "")
    return f"; see {path} --help" if path else ""
