"""The `prodkit` command. Exit codes: 0 done, 1 it found something wrong, 2 it could not begin."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from prodkit import cli_dlq, cli_saga
from prodkit.cli_output import fail
from prodkit.errors import ConfigurationError, ServiceError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The production toolkit for Python services.",
)

app.add_typer(cli_dlq.app, name="dlq")
app.add_typer(cli_saga.app, name="saga")


@app.callback()
def _prodkit() -> None:
    """Make each function below a command of its own, even while there is only one."""


@app.command()
def proto(
    paths: Annotated[list[Path], typer.Argument(help=".proto files, or folders of them.")],
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", "-I", help="Root of imports; the current folder by default."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if a file is out of date.")
    ] = False,
) -> None:
    """Compile contracts offline; modules and typed stubs are put beside the .proto files."""
    try:
        from prodkit.contract.compile import CompileError, MissingToolError, compile_contracts
    except ImportError as error:
        fail(2, f"{error.name} is missing: pip install 'prodkit-services[grpc]'")
    try:
        generated = compile_contracts(paths, root or [Path()])
    except CompileError as error:
        fail(1, str(error))
    except (MissingToolError, ValueError, OSError) as error:
        fail(2, str(error))
    stale = [file for file in generated if not file.current()]
    if check and stale:
        fail(1, "\n".join(f"out of date: {file.path}" for file in stale))
    for file in stale:
        file.write()
        typer.echo(file.path)


@app.command()
def migrate(
    versions: Annotated[Path, typer.Argument(help="Folder of the service's Alembic revisions.")],
    url: Annotated[
        str,
        # Not on the command line, which everybody on the machine can read.
        typer.Option(envvar="DATABASE_URL", help="postgresql://user:password@host:port/name"),
    ],
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for another replica's migration.")
    ] = 300.0,
) -> None:
    """Bring a PostgreSQL database to its newest revision; safe from several replicas at once."""
    try:
        from prodkit.data.database import Database
        from prodkit.data.migrations import migrate as run
    except ImportError as error:
        fail(2, f"{error.name} is missing: pip install 'prodkit-services[sql]'")
    try:
        ran = asyncio.run(run(Database(url), versions, wait=wait))
    except ConfigurationError as error:
        fail(2, str(error))
    except ServiceError as error:
        fail(1, "\n".join(getattr(error, "__notes__", [error.message])))  # notes say where
    for revision in ran:
        typer.echo(revision)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
