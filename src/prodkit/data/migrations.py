"""Alembic migrations, run by whoever comes first while the other replicas wait."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from prodkit._extras import extra

with extra("sql", of=__name__):
    import alembic  # noqa: F401
    import sqlalchemy  # noqa: F401

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database
from prodkit.data.database.engines import translate, unavailable
from prodkit.data.database.postgres_errors import translated
from prodkit.errors import ConfigurationError

#: Of the advisory lock; one for all services, for each has a database of its own.
_LOCK = 7310025018
_LOOK = 0.2  # seconds between looks at it


async def migrate(
    database: Database,
    versions: str | os.PathLike[str],
    *,
    wait: float = 300.0,
    statement: float = 3600.0,
    clock: Clock = SYSTEM_CLOCK,
) -> list[str]:
    """Bring a PostgreSQL database to the head of the Alembic revisions in the folder `versions`.

    Returns the revisions that this call ran: none if another replica was faster. Each revision is
    a transaction, so a crash leaves whole revisions behind, and the next run goes on from there.
    Others wait up to `wait` seconds for their turn, then UnavailableError. No env.py and no
    alembic.ini are needed. A revision should take its locks quickly or not at all: a statement
    that waits for a lock longer than `lock` of the database's options fails, for all who come
    after it would wait too. SQLite's tables are `Database.create_all`'s. Raises ConfigurationError
    for SQLite, and for a folder that cannot be read as revisions.
    """
    patience = seconds("wait", wait)
    script = _script(versions)
    async with _connected(database, seconds("statement", statement)) as connection:
        end = clock.monotonic() + patience
        while not await _locked(connection):
            if clock.monotonic() >= end:
                raise unavailable(database.name, "is being migrated by another process")
            await clock.sleep(_LOOK)
        # The lock is the session's: it ends with the connection, whatever happens.
        return await connection.run_sync(lambda sync: _upgrade(sync, script))


async def check_migrated(
    database: Database, versions: str | os.PathLike[str], *, command: str = "prodkit migrate"
) -> None:
    """Raise ConfigurationError unless a PostgreSQL database is at the head of its revisions.

    It names the database, both revisions, and the `command` that migrates. A database that is ahead
    (a roll-back of the service) passes: migrations must bear the version before them anyway, while
    replicas are replaced one by one.
    """
    script = _script(versions)
    async with database.read() as tx:
        there = await tx.connection.run_sync(_heads)
    known = {revision.revision for revision in script.walk_revisions()}
    if set(there) <= known and set(there) != set(script.get_heads()):
        at = ", ".join(there) or "nothing"
        raise ConfigurationError(
            f"{database.name} ({database.server}) is migrated to {at}, "
            f"not to {', '.join(script.get_heads())}: run `{command}` before the service starts"
        )


def _heads(connection: Connection) -> Sequence[str]:
    return MigrationContext.configure(connection).get_current_heads()


def _script(versions: str | os.PathLike[str]) -> ScriptDirectory:
    folder = os.fspath(versions)
    try:
        script = ScriptDirectory(folder, version_locations=[folder])
        heads = script.get_heads()
    except CommandError as error:
        raise ConfigurationError(f"no Alembic revisions in {folder}: {error}") from error
    if len(heads) != 1:
        found = ", ".join(heads) or "none"
        raise ConfigurationError(f"{folder} must hold revisions with one head, not {found}")
    return script


@asynccontextmanager
async def _connected(database: Database, statement: float) -> AsyncIterator[AsyncConnection]:
    """Connect by the side of the pool, with time for statements that take long."""
    server = database.server
    if server is None:
        raise ConfigurationError(f"{database.name} is SQLite: Database.create_all makes its tables")
    limits = replace(server.options, statement=statement, idle_in_transaction=statement)
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=server.within(limits).connect,
        poolclass=NullPool,
        hide_parameters=True,
    )
    translate(engine, lambda context: translated(database.name, server.shown, context))
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def _locked(connection: AsyncConnection) -> bool:
    taken = await connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})"))
    await connection.commit()
    return bool(taken.scalar_one())


def _upgrade(connection: Connection, script: ScriptDirectory) -> list[str]:
    ran: list[str] = []

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - as alembic.command does

    def note(ctx: object, step: MigrationInfo, heads: object, run_args: object) -> None:
        ran.extend(step.up_revision_ids)

    with EnvironmentContext(Config(), script, fn=steps, destination_rev="head") as environment:
        environment.configure(
            connection=connection, transaction_per_migration=True, on_version_apply=note
        )
        with environment.begin_transaction():
            environment.run_migrations()
    return ran
