"""The `prodkit` command. Exit codes: 0 done, 1 it found something wrong, 2 it could not begin."""

from __future__ import annotations

import typer

from prodkit.cli import dlq, saga
from prodkit.cli.migrate import migrate
from prodkit.cli.proto import proto

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The production toolkit for Python services.",
)
app.command()(proto)
app.command()(migrate)
app.add_typer(dlq.app, name="dlq")
app.add_typer(saga.app, name="saga")


def main() -> None:
    """Run the command line."""
    app()
