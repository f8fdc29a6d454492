"""What several processes that open one file at once meet; tests/integration kills them for real."""

import sqlite3

import pytest
from sqlalchemy.util import greenlet_spawn

from prodkit.data.database.sqlite import _with_patience

pytestmark = pytest.mark.anyio


class Change:
    """Asks for the whole file, and is told `busy` times that others have it."""

    def __init__(self, busy, code=sqlite3.SQLITE_BUSY):
        self.busy, self.code, self.asked = busy, code, 0

    def __call__(self):
        self.asked += 1
        if self.asked <= self.busy:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error


async def test_who_is_told_that_others_have_the_file_asks_again():
    change = Change(busy=3, code=sqlite3.SQLITE_BUSY | 1 << 8)  # while somebody recovers it
    await greenlet_spawn(_with_patience, change, 5.0)
    assert change.asked == 4


async def test_and_gives_up_in_time():
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        await greenlet_spawn(_with_patience, Change(busy=10_000), 0.05)


async def test_other_troubles_are_told_at_once():
    change = Change(busy=1, code=sqlite3.SQLITE_FULL)
    with pytest.raises(sqlite3.OperationalError):
        await greenlet_spawn(_with_patience, change, 5.0)
    assert change.asked == 1
