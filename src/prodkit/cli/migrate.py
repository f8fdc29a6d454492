"""`prodkit migrate`: a PostgreSQL database to its newest revision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from prodkit.cli.output import fail
from prodkit.errors import ConfigurationError, ServiceError


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
