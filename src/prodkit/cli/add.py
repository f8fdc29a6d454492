"""`prodkit add`: a service, a method or the handling of an event, into a project that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prodkit.cli.changes import DryRun, Folder, carry_out
from prodkit.cli.output import fail, printable

if TYPE_CHECKING:
    from prodkit.scaffold.additions import Additions

app = typer.Typer(no_args_is_help=True, help="Add to a project.")

Service = Annotated[
    str, typer.Argument(metavar="SERVICE", help="The service, as `services` in .prodkit.toml.")
]


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


@app.command()
def rpc(
    service: Service,
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="What the method is called, as GetItem.")
    ],
    get: Annotated[
        str, typer.Option(metavar="PATH", help="Reached by GET there, as /v1/items/{id}.")
    ] = "",
    post: Annotated[
        str, typer.Option(metavar="PATH", help="Reached by POST there, as /v1/items.")
    ] = "",
    folder: Folder = Path(),
    dry_run: DryRun = False,
) -> None:
    """Add a method to a service: to its contract and its servicer, with a test."""
    from prodkit.scaffold.rpc import Route, prepare_rpc

    if get and post:
        fail(2, "a method is reached in one way: --get or --post")
    route = Route("get", get) if get else Route("post", post) if post else None
    _write(prepare_rpc(folder, service, method, route), "make proto format test", dry_run=dry_run)


@app.command()
def event(
    service: Service,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the event is called, as item.sold.")
    ],
    folder: Folder = Path(),
    dry_run: DryRun = False,
) -> None:
    """Add the handling of an event to a service: a handler in its table, with a test."""
    from prodkit.scaffold.event import prepare_event

    _write(prepare_event(folder, service, name), "make format test", dry_run=dry_run)


def _write(additions: Additions, following: str, *, dry_run: bool) -> None:
    for path in additions.edited:
        typer.echo(f"{'changed':<10} {printable(path)}")
    for path in additions.created:
        typer.echo(f"{'new':<10} {printable(path)}")
    if dry_run:
        typer.echo("nothing is written")
        return
    additions.write()
    typer.echo(f"next: {following}")
