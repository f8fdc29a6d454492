"""How `prodkit update` and `prodkit add` tell what they do with each file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prodkit.cli.output import fail, printable

if TYPE_CHECKING:
    from prodkit.scaffold.update import Update

Folder = Annotated[
    Path, typer.Option("--in", metavar="DIR", help="The project's folder; this one by default.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; write nothing.")]


def carry_out(update: Update, title: str, *, dry_run: bool) -> None:
    """Tell the changes, and make them; exit with 1 where somebody has to resolve a conflict."""
    from prodkit.scaffold.update import UnfinishedError

    if update.nothing:
        typer.echo(f"{title}: nothing to do")
        return
    for change in update.changes:
        note = f": {change.note}" if change.note else ""
        typer.echo(f"{change.kind.value:<10} {printable(change.path + note)}")
    if not dry_run:
        try:
            update.write()
        except UnfinishedError as error:
            fail(1, str(error))
    typer.echo(f"{title}: {_counted(update)}{'; nothing is written' if dry_run else ''}")
    if update.conflicts:
        fail(
            1, "conflicts: resolve them, then commit" if not dry_run else "there would be conflicts"
        )
    if not dry_run and any(change.path.endswith(".proto") for change in update.changes):
        typer.echo("next: make proto test")  # lint compares what is compiled with the contracts


def _counted(update: Update) -> str:
    kinds = Counter(change.kind.value for change in update.changes)
    return ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "no file changes"
