"""SQLite: one connection writes, a few others read."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from sqlalchemy import event, func, select, table
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from prodkit.data.database.alone import ALONE
from prodkit.data.database.engines import Engines, translate, unavailable
from prodkit.errors import ConfigurationError

#: What SQLite says when the database, not the statement, is at fault; by primary result code.
_AWAY = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked",
    sqlite3.SQLITE_FULL: "has no space left",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_NOMEM: "is out of memory",
    sqlite3.SQLITE_NOTADB: "is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
}
#: Of the connection that writes; one that reads is so by itself, and a statement is at fault.
_READONLY = {sqlite3.SQLITE_READONLY: "is read-only"}

#: Seconds between two tries to have the whole file.
_PAUSE = 0.01


def sqlite_engines(path: str, *, name: str, readers: int, wait: float) -> Engines:
    """Return the engines of a database file; `:memory:` is a temporary one, without the syncs."""
    if readers < 1:
        raise ConfigurationError(f"readers must be at least 1, not {readers!r}")
    file, folder = _file(path), None
    if file == ":memory:":
        folder = tempfile.TemporaryDirectory(prefix="prodkit-")
        file = os.path.join(folder.name, "database.sqlite")
    sync = "FULL" if folder is None else "OFF"
    writing = (f"synchronous = {sync}", "foreign_keys = ON")
    reading = (f"synchronous = {sync}", "query_only = ON")
    writer = _engine(file, wait, 1, "BEGIN IMMEDIATE", writing)
    reader = _engine(file, wait, readers, "BEGIN", reading)
    for engine, away in ((writer, _AWAY | _READONLY), (reader, _AWAY)):
        translate(engine, partial(_translated, name, away))
    return Engines(
        writer=writer,
        serializable=writer,  # a database with one writer is
        reader=reader,
        alone=writer.execution_options(**{ALONE: True}),
        reading_alone=reader.execution_options(**{ALONE: True}),
        writers=1,
        readers=readers,
        # Reads the file, as a constant would not.
        probe=select(func.count()).select_from(table("sqlite_master")),
        cleanup=(lambda: None) if folder is None else folder.cleanup,
    )


def _engine(
    file: str, wait: float, places: int, begin: str, pragmas: tuple[str, ...]
) -> AsyncEngine:
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{file}",
        pool_size=places,
        max_overflow=0,
        pool_timeout=wait,
        pool_reset_on_return=None,
        # Errors reach logs; the values in a statement may be somebody's hash or token.
        hide_parameters=True,
        # The driver must not begin transactions by itself: `begin` does.
        connect_args={"isolation_level": None, "timeout": wait},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        _with_patience(lambda: cursor.execute("PRAGMA journal_mode = WAL"), wait)
        for each in pragmas:
            cursor.execute(f"PRAGMA {each}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        if not connection.get_execution_options().get(ALONE):
            connection.exec_driver_sql(begin)

    return engine


def _with_patience(change: Callable[[], object], wait: float) -> None:
    """Try for `wait` seconds: who asks for the whole file is told at once that others have it.

    SQLite's own busy_timeout does not serve there, and processes that start together, or after a
    kill -9, all ask.
    """
    end = monotonic() + wait
    while True:
        try:
            change()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > end:
                raise
            await_only(asyncio.sleep(_PAUSE))
        else:
            return


def _translated(name: str, away: Mapping[int, str], context: Any) -> Exception | None:
    code = getattr(context.original_exception, "sqlite_errorcode", None)
    trouble = None if code is None else away.get(code & 0xFF)
    return None if trouble is None else unavailable(name, trouble)


def _file(path: str) -> str:
    if "://" not in path:
        return path
    return make_url(path).database or ":memory:"
