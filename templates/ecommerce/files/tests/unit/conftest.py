"""What the tests of the services below the wire may ask for."""

import sys
from pathlib import Path

import pytest
from prodkit.testing import ManualClock

sys.path.insert(0, str(Path(__file__).parent))
from shop_doubles import Events, opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def events():
    return Events()


@pytest.fixture
async def open_database():
    """Open databases that are closed after the test: `await open_database(metadata, ...)`."""
    databases = []

    async def open_one(*tables):
        database = await opened(*tables)
        databases.append(database)
        return database

    yield open_one
    for database in databases:
        await database.stop()
