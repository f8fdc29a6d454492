"""Migrations make what the code's tables are."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib import import_module

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from prodkit.data.database import Database
from prodkit.messaging import tables
from servers import SERVICES, Servers
from sqlalchemy import Connection, MetaData, text

from ecommerce.settings import Settings

#: Where the tables of each service are.
MODULES = {name: f"ecommerce.{name}.tables" for name in SERVICES} | {
    "orders": "ecommerce.orders.adapters.tables",
}
#: What Alembic does not compare: conditions of indexes and of columns.
DETAILS = """
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE 'alembic%'
    UNION ALL
    SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'alembic%'
    ORDER BY 1"""


def joined(service: str) -> MetaData:
    """Return all tables of a service's database, prodkit's too."""
    every = MetaData()
    for metadata in (*tables.TABLES, import_module(MODULES[service]).metadata):
        for table in metadata.tables.values():
            table.to_metadata(every)
    return every


@pytest.fixture(scope="module")
def migrated(servers: Servers) -> Settings:
    """Databases that two who came at once have migrated."""
    url = servers.database_url()
    environment = os.environ | {"SHOP_DATABASE_URL": url}
    command = [sys.executable, "-m", "ecommerce.cli", "migrate"]
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [each.communicate(timeout=60)[0].splitlines() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    for service in SERVICES:
        lines = [line for each in said for line in each if line.startswith(f"{service}: ")]
        assert sorted(lines) == [f"{service}: 0001", f"{service}: up to date"]
    return Settings(database_url=url)


@pytest.fixture(scope="module")
def made(servers: Servers) -> Settings:
    """The same databases, with tables as the code describes them."""
    settings = Settings(database_url=servers.database_url())

    async def make() -> None:
        for service in SERVICES:
            database = opened(settings, service)
            await database.create_all(joined(service))
            await database.stop()

    asyncio.run(make())
    return settings


def opened(settings: Settings, service: str) -> Database:
    assert settings.database_url is not None
    return Database(settings.database_url.get_secret_value().replace("{service}", service))


async def details(settings: Settings, service: str) -> list[str]:
    database = opened(settings, service)
    try:
        async with database.read() as tx:
            return list((await tx.execute(text(DETAILS))).scalars())
    finally:
        await database.stop()


async def differences(settings: Settings, service: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), joined(service)))

    database = opened(settings, service)
    try:
        async with database.read() as tx:
            return await tx.connection.run_sync(compare)
    finally:
        await database.stop()


@pytest.mark.parametrize("service", SERVICES)
def test_migrations_make_the_tables_that_the_code_describes(
    migrated: Settings, made: Settings, service: str
) -> None:
    assert asyncio.run(differences(migrated, service)) == []
    assert asyncio.run(details(migrated, service)) == asyncio.run(details(made, service))
