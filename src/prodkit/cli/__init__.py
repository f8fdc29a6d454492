"""The `prodkit` command. Exit codes: 0 done, 1 it found something wrong, 2 it could not begin."""

from __future__ import annotations

from typing import Annotated

import typer

from prodkit import __version__
from prodkit.cli import add, dlq, saga
from prodkit.cli.check import check
from prodkit.cli.commands import Commands
from prodkit.cli.migrate import migrate
from prodkit.cli.new import new
from prodkit.cli.proto import proto
from prodkit.cli.update import update

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(new)
app.add_typer(add.app, name="add")
app.command()(update)
app.command()(check)
app.command()(proto)
app.command()(migrate)
app.add_typer(dlq.app, name="dlq")
app.add_typer(saga.app, name="saga")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"prodkit {__version__}")
        raise typer.Exit


@app.callback(help="The production toolkit for Python services.")
def prodkit(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Show it and exit."),
    ] = False,
) -> None:
    """Stand before every command: options that concern them all."""


def main() -> None:
    """Run the command line."""
    app()
