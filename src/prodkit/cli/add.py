"""`prodkit add`: a service, a method or the handling of an event, into a project that is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prodkit.cli.changes import DryRun, Folder, carry_out

app = typer.Typer(no_args_is_help=True, help="Add to a project.")


@app.command()
def service(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the service is called, as stock.")
    ],
    folder: Folder = Path(),
    dry_run: DryRun = False,
) -> None:
    """Add a service, like the first one; what you changed in the project is merged."""
    from prodkit.scaffold.add import prepare_service

    carry_out(prepare_service(folder, name), f"service {name}", dry_run=dry_run)
