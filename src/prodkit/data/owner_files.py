"""Whether an owner of leases is dead: the kernel knows, and lets go of the lock on its file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from glob import escape
from pathlib import Path
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # not on this platform: then leases end by themselves
    fcntl = None  # type: ignore[assignment, unused-ignore]  # mypy knows one platform at a time

from prodkit._tasks import complete
from prodkit.data.database import Database

#: How many of the dead are handed out together: each has a file open meanwhile.
_AT_ONCE = 100


class OwnerFiles:
    """The living owners of one `kind` of leases in a SQLite database: a locked file each.

    Who leases holds an exclusive flock(2) on a file, in the folder `owners` beside the database,
    from before its first lease until it ends. The kernel drops the lock with the process, however
    that died, and with no process that lives: so whoever can have it knows that the owner is dead,
    and need not wait for its leases to end. A file that is missing proves nothing. Processes of one
    SQLite database share a machine; over PostgreSQL none of this is there: a lost connection proves
    no death.
    """

    def __init__(self, database: Database, kind: str) -> None:
        path = database.writer.url.database
        there = fcntl is not None and database.dialect == "sqlite" and path
        self._folder = Path(str(path)).parent / "owners" if there else None
        self._prefix = f"{Path(str(path)).name}.{kind}."
        self._held: dict[str, int] = {}
        _all.add(self)

    async def hold(self, owner: str) -> None:
        """Show that `owner` lives, until `drop`, or until this process dies."""
        if self._folder is not None and owner not in self._held:
            self._held[owner] = await complete(asyncio.to_thread(self._lock, self._folder, owner))

    async def drop(self, owner: str) -> None:
        """Leave nothing behind; whoever calls this has given its leases back."""
        descriptor = self._held.pop(owner, None)
        if self._folder is not None and descriptor is not None:
            await complete(asyncio.to_thread(_remove, self._folder / self._name(owner), descriptor))

    @asynccontextmanager
    async def dead(self) -> AsyncIterator[list[str]]:
        """Hand out the dead, whose leases the block is to end; they are forgotten after it.

        Where it raises, they are found again next time; so are those beyond a hundred.
        """
        if self._folder is None:
            yield []
            return
        found = await complete(asyncio.to_thread(self._lock_dead, self._folder))
        try:
            yield list(found)
        except BaseException:
            for descriptor in found.values():
                os.close(descriptor)
            raise
        for owner, descriptor in found.items():
            await complete(asyncio.to_thread(_remove, self._folder / self._name(owner), descriptor))

    def forget(self) -> None:
        """Let go of what is held, in a child that was forked: the lock is its parent's alone."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _name(self, owner: str) -> str:
        return self._prefix + owner

    def _lock(self, folder: Path, owner: str) -> int:
        folder.mkdir(exist_ok=True)
        path = folder / self._name(owner)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except BaseException:  # a file system without locks
                _remove(path, descriptor)
                raise
            # Whoever finds the file before it is locked takes it for a dead one's and removes it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)

    def _lock_dead(self, folder: Path) -> dict[str, int]:
        found: dict[str, int] = {}
        try:
            for path in folder.glob(f"{escape(self._prefix)}*"):
                if len(found) == _AT_ONCE:
                    break
                with suppress(FileNotFoundError):
                    descriptor = _locked(path)
                    if descriptor is not None:
                        found[path.name.removeprefix(self._prefix)] = descriptor
        except BaseException:
            for descriptor in found.values():
                os.close(descriptor)
            raise
        return found


def _locked(path: Path) -> int | None:
    """Lock a file; None where its owner lives."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove(path: Path, descriptor: int) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _forget_all() -> None:
    for files in list(_all):
        files.forget()


#: A fork has the locks, too, and would keep them from being dropped when its parent dies.
_all: WeakSet[OwnerFiles] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
