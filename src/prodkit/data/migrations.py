"""Alembic migrations, run by whoever comes first while the other replicas wait."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from prodkit._extras import extra

with extra("sql", of=__name__):
    import alembic  # noqa: F401
    import sqlalchemy  # noqa: F401

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from prodkit.clock import SYSTEM_CLOCK, Clock, seconds
from prodkit.data.database import Database, TransactionConflictError
from prodkit.data.database.engines import refusals, translate, unavailable
from prodkit.data.database.postgres_errors import translated
from prodkit.data.revisions import read_revisions, trouble
from prodkit.errors import ConfigurationError, UnavailableError

#: Of the advisory lock; one for all services, for each has a database of its own.
_LOCK = 7310025018
_LOOK = 0.2  # seconds between looks at it


class _UnknownError(ConfigurationError):
    """The database is at a revision that is not ours."""


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
    for SQLite, for a folder that cannot be read as revisions, for one that fails, for a database at
    a revision that the folder does not have, and where `Database.start` does.
    """
    patience = seconds("wait", wait)
    script = read_revisions(versions)
    async with _connected(database, seconds("statement", statement)) as connection:
        end = clock.monotonic() + patience
        while not await _locked(connection):
            if clock.monotonic() >= end:
                raise unavailable(database.name, "is being migrated by another process")
            await clock.sleep(_LOOK)
        place = f"{database.name} ({database.server})"
        # The lock is the session's: it ends with the connection, whatever happens.
        return await connection.run_sync(lambda sync: _upgrade(sync, script, place))


async def check_migrated(
    database: Database, versions: str | os.PathLike[str], *, command: str = "prodkit migrate"
) -> None:
    """Raise ConfigurationError unless a PostgreSQL database is at the head of its revisions.

    It names the database, both revisions, and the `command` that migrates. A database that is ahead
    (a roll-back of the service) passes: migrations must bear the version before them anyway, while
    replicas are replaced one by one.
    """
    script = read_revisions(versions)
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
        connection = engine.connect()
        with refusals():
            await connection.start()
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()


async def _locked(connection: AsyncConnection) -> bool:
    taken = await connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})"))
    await connection.commit()
    return bool(taken.scalar_one())


def _upgrade(connection: Connection, script: ScriptDirectory, place: str) -> list[str]:
    ran: list[str] = []
    planned: list[str] = []

    def steps(revision: Any, _context: MigrationContext) -> Any:
        found = script._upgrade_revs("head", revision)  # noqa: SLF001 - as alembic.command does
        planned.extend(each.revision.revision for each in found)
        return found

    def note(ctx: object, step: MigrationInfo, heads: object, run_args: object) -> None:
        ran.extend(step.up_revision_ids)

    with (
        _told(place, script, planned, ran),
        EnvironmentContext(Config(), script, fn=steps, destination_rev="head") as environment,
    ):
        _check_known(connection, script, place)
        environment.configure(
            connection=connection, transaction_per_migration=True, on_version_apply=note
        )
        with environment.begin_transaction():
            environment.run_migrations()
    return ran


def _check_known(connection: Connection, script: ScriptDirectory, place: str) -> None:
    """Raise ConfigurationError for a database whose revision is not one of ours."""
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = [head for head in _heads(connection) if head not in known]
    connection.rollback()  # or Alembic takes our look for a transaction that holds all revisions
    if unknown:
        raise _UnknownError(
            f"{place} is migrated to {', '.join(unknown)}, which {script.dir} does not have: it is"
            " another application's, or a newer version's, which needs no migration"
        )


@contextmanager
def _told(
    place: str, script: ScriptDirectory, planned: Sequence[str], ran: Sequence[str]
) -> Iterator[None]:
    """Raise ConfigurationError for what is wrong with a revision: it names it, and what stays."""
    try:
        yield
    except (UnavailableError, TransactionConflictError, _UnknownError):
        raise  # the next run may come through, or all is said
    except Exception as error:
        where = f" to {planned[len(ran)]}" if len(ran) < len(planned) else ""
        found = trouble(error, Path(script.dir))
        stays = f"; it stays at {ran[-1]}" if ran else ""
        raise ConfigurationError(f"{place} cannot be migrated{where}: {found}{stays}") from error
