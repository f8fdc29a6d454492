"""SQLite files: a lock that keeps writers out, a snapshot, and a copy of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from prodkit.errors import ConfigurationError, UnavailableError

from .instant import BusyError, View

#: Seconds that a lock is waited for: writers of other databases may be waiting for us meanwhile.
_LOCK = 0.5
#: Pages between two reports.
_PAGES = 2000


class SqliteSource:
    """A database file, which may be in use."""

    kind = "sqlite"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.file = f"{name}.db"
        self._path = path

    def __enter__(self) -> SqliteSource:
        if not self._path.exists():
            raise ConfigurationError(f"there is no {self._path}: is data_dir the shop's?")
        with _translated(self._path):
            self._writer, self._reader = open_file(self._path), open_file(self._path)
            self._reader.execute("PRAGMA query_only = ON")
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.close()
        self._reader.close()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Let nobody write meanwhile; readers are not kept."""
        with _translated(self._path):
            self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._writer.execute("ROLLBACK")

    @contextmanager
    def look(self) -> Iterator[View]:
        """See what is there now; writers go on, and their changes are not seen."""
        with _translated(self._path):
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            yield SqliteView(self._reader)
        finally:
            self._reader.execute("ROLLBACK")


class SqliteView:
    """A file as of the beginning of a transaction on `connection`."""

    revision = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        return rows_of(self._connection)

    def save(self, path: Path, tell: Callable[[int, int], None]) -> None:
        """Copy it by SQLite's backup API, which reads within the transaction that is open."""
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        with closing(open_file(path, mode="rwc")) as copy:
            self._connection.backup(
                copy,
                pages=_PAGES,
                progress=lambda _, left, total: tell((total - left) * size, total * size),
                sleep=0.0,
            )
            # One file then, that needs no write-ahead log beside it.
            copy.execute("PRAGMA journal_mode = DELETE")


def open_file(path: Path, *, mode: str = "rw") -> sqlite3.Connection:
    """Open a database file that must be there, unless `mode` is "rwc"."""
    address = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_LOCK, isolation_level=None)


def rows_of(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%'"
        " ESCAPE '~' ORDER BY name"
    ).fetchall()
    return {
        name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - a table's own name
        for (name,) in tables
    }


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise BusyError(f"{path.name} is being written to without a pause") from error
        raise UnavailableError(f"{path} cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        raise UnavailableError(f"{path} is no SQLite database: {error}") from error
