"""`prodkit proto`: contracts to modules and stubs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prodkit.cli.output import fail


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
