"""Backup and restore of PostgreSQL databases, without the shop's processes around them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from prodkit.errors import ConfigurationError
from prodkit.testing.servers import PrivatePostgres
from prodkit.transports.embedded import EmbeddedBroker
from servers import execute

from ecommerce.peers import SERVICES
from ecommerce.recovery import postgres_dumps
from ecommerce.recovery.backup import backup
from ecommerce.recovery.instant import BusyError, instant
from ecommerce.recovery.postgres_dumps import PostgresSource
from ecommerce.recovery.postgres_url import PostgresUrl
from ecommerce.recovery.progress import Progress
from ecommerce.recovery.restore import restore
from ecommerce.schema import migrate_all
from ecommerce.settings import Settings

INBOX = "INSERT INTO inbox VALUES ('c', 's', '{}', 0)"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PrivatePostgres]:
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def settings(postgres: PrivatePostgres, tmp_path: Path) -> Settings:
    """The settings of a shop that has run, on PostgreSQL and the embedded broker."""
    for service in SERVICES:
        postgres.ask(f'DROP DATABASE IF EXISTS "Shop {service}"')
        postgres.ask(f'CREATE DATABASE "Shop {service}"')
    settings = Settings(
        data_dir=tmp_path / "var",
        port=0,
        admin_port=0,
        database_url=postgres.dsn.removesuffix("/postgres") + "/Shop%20{service}",
    )
    settings.make_data_dir()
    asyncio.run(_prepare(settings))
    return settings


async def _prepare(settings: Settings) -> None:
    await migrate_all(settings, SERVICES)
    broker = EmbeddedBroker(settings.data_dir / "broker.db")
    await broker.start()
    await broker.stop()


def dsn(settings: Settings, service: str) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value().replace("{service}", service)


def inbox(settings: Settings, service: str) -> int:
    return execute(dsn(settings, service), "SELECT count(*) FROM inbox")[0][0]


def names(postgres: PrivatePostgres) -> set[str]:
    return set(postgres.ask("SELECT datname FROM pg_database WHERE NOT datistemplate").splitlines())


class Writer(threading.Thread):
    """Writes to orders and then to payments, as services do that tell each other."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._ended = threading.Event()
        self.written = 0

    def run(self) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        both = [await asyncpg.connect(dsn(self._settings, s)) for s in ("orders", "payments")]
        while not self._ended.is_set():
            for connection in both:
                await connection.execute(INBOX.format(self.written))
            self.written += 1
        for connection in both:
            await connection.close()

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()


def test_25_all_databases_of_a_server_come_back_as_of_one_instant(
    settings: Settings, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    with Writer(settings) as writer:
        for turn in range(2):
            before = writer.written
            whole = backup(settings, tmp_path / f"b{turn}", Progress())
            kept = {part.name: part.rows.get("public.inbox", 0) for part in whole.parts}
            assert kept["orders"] - kept["payments"] in (0, 1), "an effect without its cause"
            assert kept["payments"] >= before, "what was acknowledged before is not in it"
        with pytest.raises(ConfigurationError, match=r"Shop orders is in use by .*: stop the shop"):
            restore(settings, tmp_path / "b1", Progress(), force=True)
    assert writer.written > before > 0
    assert whole.parts[1].revision == "0001"

    for service in SERVICES:
        postgres.ask(f'DROP DATABASE "Shop {service}"')
    (settings.data_dir / "broker.db").unlink()
    restore(settings, tmp_path / "b1", Progress())
    assert {service: inbox(settings, service) for service in SERVICES} == {
        service: kept[service] for service in SERVICES
    }
    assert names(postgres) == {"postgres", *(f"Shop {service}" for service in SERVICES)}

    execute(dsn(settings, "orders"), "DELETE FROM inbox RETURNING 1")
    with pytest.raises(ConfigurationError, match="Shop users: there already; --force"):
        restore(settings, tmp_path / "b1", Progress())
    _, aside = restore(settings, tmp_path / "b1", Progress(), force=True)
    assert inbox(settings, "orders") == kept["orders"]
    (old,) = [name for name in aside if "Shop orders" in name]
    there = dsn(settings, "orders").replace("Shop%20orders", old.removeprefix("database "))
    assert execute(there, "SELECT count(*) FROM inbox") == [(0,)]
    for name in aside[1:]:
        postgres.ask(f'DROP DATABASE "{name.removeprefix("database ")}"')


def test_25_whoever_writes_without_an_end_is_named_and_keeps_nobody_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_dumps, "_LOCK", 0.1)
    monkeypatch.setattr(postgres_dumps, "_LOCK_ALONE", 0.1)

    async def endless() -> None:
        connection = await asyncpg.connect(dsn(settings, "users"))
        await connection.execute("BEGIN; " + INBOX.format(1))
        await asyncio.to_thread(look)
        await connection.close()

    def look() -> None:
        with asyncio.Runner() as runner:
            sources = [
                PostgresSource(service, PostgresUrl(dsn(settings, service)), runner)
                for service in ("orders", "users")
            ]
            with pytest.raises(BusyError, match="users"), instant(sources, patience=0.2):
                pass
            execute(dsn(settings, "orders"), INBOX.format(1))

    asyncio.run(endless())
    assert inbox(settings, "orders") == 1
