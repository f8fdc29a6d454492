"""The schema of each database: made at the start on SQLite, brought up to date on PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from prodkit.data.database import Database
from prodkit.data.migrations import check_migrated, migrate
from prodkit.errors import ConfigurationError
from sqlalchemy import MetaData

from . import COMMAND
from .engines import check_placeholder, database
from .settings import Settings


def versions(service: str) -> Path:
    """Return the folder of a service's Alembic revisions."""
    return Path(__file__).parent / service / "migrations"


async def migrate_all(settings: Settings, services: Sequence[str]) -> dict[str, list[str]]:
    """Bring the database of each service to its newest revision; return what ran, by service.

    Several may do so at once, one works then and the others wait. Raises ConfigurationError and
    UnavailableError; what ran until then stays.
    """
    if settings.database_url is None:
        raise ConfigurationError(
            "database_url: not set; SQLite needs no migration, services make their tables"
        )
    if len(services) > 1:
        check_placeholder(settings)
    ran = {}
    for service in services:
        one = database(settings, service)
        try:
            ran[service] = await migrate(one, versions(service))
        finally:
            await one.stop()
    return ran


class Schema:
    """Sees to it that a database, once open, is as the code wants it.

    On SQLite what is missing is made. On PostgreSQL it is looked at alone: ConfigurationError if it
    is not at the newest of the revisions in `versions`.
    """

    def __init__(self, database: Database, *tables: MetaData, versions: Path | None = None) -> None:
        self.name = f"{database.name} schema"
        self._database = database
        self._tables = tables
        self._versions = versions

    async def start(self) -> None:
        """Create what is missing, or look."""
        if self._versions is None or self._database.dialect == "sqlite":
            await self._database.create_all(*self._tables)
        else:
            logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of every look
            await check_migrated(self._database, self._versions, command=f"{COMMAND} migrate")

    async def stop(self, grace: float) -> None:
        """Leave everything where it is."""
