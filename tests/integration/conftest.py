"""Servers that several files of tests share."""

import asyncio
from collections.abc import Iterator
from itertools import count

import asyncpg
import pytest

from prodkit.testing.servers import PrivatePostgres

_NUMBERS = count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A PostgreSQL for the whole run; whoever pauses or kills it brings it back."""
    with PrivatePostgres() as server:
        yield server


async def execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for each in statements:
            await connection.execute(each)
    finally:
        await connection.close()


@pytest.fixture
def postgres_url(postgres: PrivatePostgres) -> str:
    """The URL of an empty schema in it: a database of one's own would cost a second."""
    return _create(postgres)


@pytest.fixture
def postgres_url_2(postgres: PrivatePostgres) -> str:
    """The URL of another."""
    return _create(postgres)


def _create(postgres: PrivatePostgres) -> str:
    name = f"test{next(_NUMBERS)}"
    asyncio.run(execute(postgres.dsn, f"CREATE SCHEMA {name}"))
    return f"{postgres.dsn}?search_path={name}"
