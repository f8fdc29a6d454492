"""The `prodkit` command. Exit codes: 0 done, 1 it found something wrong, 2 it could not begin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The production toolkit for Python services.",
)


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
        _fail(2, f"{error.name} is missing: pip install 'prodkit-services[grpc]'")
    try:
        generated = compile_contracts(paths, root or [Path()])
    except CompileError as error:
        _fail(1, str(error))
    except (MissingToolError, ValueError, OSError) as error:
        _fail(2, str(error))
    stale = [file for file in generated if not file.current()]
    if check and stale:
        _fail(1, "\n".join(f"out of date: {file.path}" for file in stale))
    for file in stale:
        file.write()
        typer.echo(file.path)


def _fail(code: int, message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
