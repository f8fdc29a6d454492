"""The commands `backup` and `restore`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from prodkit.errors import ConfigurationError, ServiceError
from prodkit.service.settings import load_settings

from ..settings import Settings
from .progress import Progress

app = typer.Typer()

Config = Annotated[
    Path, typer.Option("--config", help="The folder of default.yaml and <environment>.yaml.")
]


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    config: Config = Path("config"),
) -> None:
    """Write all databases, as of one instant, to a new folder; the shop may run meanwhile.

    It holds personal data and password hashes, and is readable by its owner alone; it is not
    encrypted. Signing keys are not in it.
    """
    settings = load_settings(Settings, config_dir=config)
    from .backup import backup as take

    with _one_line():
        made = take(settings, folder, Progress())
        typer.echo(f"{folder}: {len(made.parts)} databases as of {made.taken_at}")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `backup` wrote.")],
    config: Config = Path("config"),
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace what is there; it is kept under another name."),
    ] = False,
) -> None:
    """Bring all databases back to what a backup holds; the shop must be stopped."""
    settings = load_settings(Settings, config_dir=config)
    from .restore import restore as put_back

    with _one_line():
        was, kept = put_back(settings, folder, Progress(), force=force)
        for each in kept:
            typer.echo(f"kept: {each}")
        typer.echo(f"{folder}: {len(was.parts)} databases are as of {was.taken_at}")


@contextmanager
def _one_line() -> Iterator[None]:
    """Say in one line why it cannot be done; exit with 2 if it must be told otherwise, else 1."""
    from asyncpg.exceptions import PostgresError

    try:
        yield
    except ConfigurationError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(2) from None
    except ServiceError as error:
        typer.echo("; ".join(getattr(error, "__notes__", [error.message])), err=True)
        raise SystemExit(2 if error.reason == "DATABASE_REFUSED" else 1) from None
    except (OSError, sqlite3.Error, PostgresError) as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise SystemExit(1) from None
