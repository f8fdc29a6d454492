"""A SQLite file that is to be replaced by the one of a backup."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from prodkit.errors import ConfigurationError

from .archive import private, sync
from .manifest import Part
from .sqlite_files import open_file, rows_of

#: What SQLite keeps beside a database. A log that was left behind would be applied to another file.
_BESIDE = ("", "-wal", "-shm", "-journal")


class SqliteTarget:
    """Where the database file of a service is, or will be."""

    kind = "sqlite"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.shown = str(path)
        self._path = path
        self._new = path.with_name(f".{path.name}.restoring")

    def occupied(self) -> bool:
        """Say whether a file is there; ConfigurationError if somebody has it open."""
        if not self._path.exists():
            return False
        try:
            with closing(open_file(self._path)) as connection:
                # Whoever has it open, be it without a transaction, holds a lock against this.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchone()
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            raise ConfigurationError(f"{self._path} is in use: stop the shop first") from None
        except sqlite3.DatabaseError:
            pass  # damaged: perhaps that is why we are here
        return True

    def load(
        self, source: Path, part: Part, publish_again: bool, tell: Callable[[int, int], None]
    ) -> dict[str, int]:
        """Copy a backup's file beside the place, and return how many rows each table has."""
        self.discard()
        self._new.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as old, private(self._new).open("wb") as new:
            shutil.copyfileobj(old, new, 1024 * 1024)
        tell(part.size, part.size)
        with closing(open_file(self._new)) as connection:
            rows = rows_of(connection)
            if publish_again and "outbox" in rows:
                connection.execute("UPDATE outbox SET sent_at = NULL")
        sync(self._new)
        return rows

    def put_aside(self, mark: str) -> str:
        """Give what is there another name, and return that; empty if nothing is."""
        aside = self._path.with_name(f"{self._path.name}.before-{mark}")
        for end in _BESIDE:
            with suppress(FileNotFoundError):
                os.rename(f"{self._path}{end}", f"{aside}{end}")
        return str(aside) if aside.exists() else ""

    def take_place(self) -> None:
        """Give the new file its name."""
        self._new.rename(self._path)
        sync(self._path.parent)

    def discard(self) -> None:
        """Remove what `load` made, if it has not taken its place."""
        self._new.unlink(missing_ok=True)
