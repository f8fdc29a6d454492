"""`prodkit update`: a project to the templates of the prodkit that is installed."""

from __future__ import annotations

from pathlib import Path

from prodkit.cli.changes import DryRun, Folder, carry_out


def update(folder: Folder = Path(), dry_run: DryRun = False) -> None:
    """Bring a project to the templates of this prodkit; what you changed in it is merged.

    Exits with 1 where both sides changed the same lines: they are marked as git marks them.
    """
    import prodkit
    from prodkit.scaffold.update import prepare_update

    prepared = prepare_update(folder)
    title = f"prodkit {prepared.project.version} -> {prodkit.__version__}"
    carry_out(prepared, title, dry_run=dry_run)
