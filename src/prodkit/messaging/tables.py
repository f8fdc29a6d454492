"""prodkit's own tables, for a service's migrations: outbox, inbox, sagas, locks, keys."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from prodkit.data import lock
from prodkit.data.saga import store as saga_store
from prodkit.errors import ConfigurationError
from prodkit.messaging import inbox, outbox
from prodkit.stores import sql

#: For `Database.create_all`, where there are no migrations.
TABLES = (outbox.metadata, inbox.metadata, saga_store.metadata, lock.metadata, sql.metadata)


def _create(connection: Connection) -> None:
    for metadata in TABLES:
        metadata.create_all(connection)


#: What each version changes. Once released a step stays as it is; changes are steps of their own.
_STEPS: tuple[Callable[[Connection], None], ...] = (_create,)
VERSION = len(_STEPS)


def upgrade(connection: Connection, version: int, *, since: int = 0) -> None:
    """Bring the tables from version `since` to `version`, in an Alembic revision of the service.

    `tables.upgrade(op.get_bind(), 1)` makes them; a later release of prodkit that needs more says
    so, and wants `tables.upgrade(op.get_bind(), 2, since=1)` in a revision of its own. Name the
    version: the same revision must do the same next year.
    """
    if not 0 <= since < version <= VERSION:
        raise ConfigurationError(f"versions go from 0 to {VERSION}, not from {since} to {version}")
    for step in _STEPS[since:version]:
        step(connection)
