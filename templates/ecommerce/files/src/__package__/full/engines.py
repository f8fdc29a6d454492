"""Private PostgreSQL, Redis and RabbitMQ, which end with whoever started them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import asyncpg
from prodkit.testing.servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis, PrivateServer

from ..peers import SERVICES

#: Six processes with ten connections each, one more to listen, and room to look around.
_SETTINGS = {"max_connections": "300"}


@dataclass(frozen=True)
class Engines:
    """The servers, started; what they keep is in temporary folders that go with them."""

    postgres: PrivatePostgres
    redis: PrivateRedis
    rabbitmq: PrivateRabbitMQ

    @property
    def settings(self) -> dict[str, str]:
        """The `SHOP_...` variables that lead to them."""
        database = self.postgres.dsn.removesuffix("/postgres") + "/shop_{service}"
        return {
            "SHOP_DATABASE_URL": database,
            "SHOP_REDIS_URL": self.redis.url,
            "SHOP_BROKER_URL": self.rabbitmq.url,
        }

    @property
    def servers(self) -> dict[str, PrivateServer]:
        """All of them, by their URL."""
        return {
            f"postgresql://127.0.0.1:{self.postgres.port}": self.postgres,
            f"redis://127.0.0.1:{self.redis.port}": self.redis,
            f"amqp://127.0.0.1:{self.rabbitmq.port}": self.rabbitmq,
        }


@contextmanager
def engines() -> Iterator[Engines]:
    """Start all three at once, and give each service a database.

    Raises ServerError that says what to install, or what a server printed last.
    """
    with ExitStack() as running:
        with ThreadPoolExecutor() as pool:
            postgres, redis, rabbitmq = (
                PrivatePostgres(settings=_SETTINGS),
                PrivateRedis(),
                PrivateRabbitMQ(),
            )
            starting = [
                pool.submit(running.enter_context, each) for each in (postgres, redis, rabbitmq)
            ]
        for each in starting:
            each.result()
        asyncio.run(_create_databases(postgres.dsn))
        yield Engines(postgres, redis, rabbitmq)


async def _create_databases(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for service in SERVICES:
            await connection.execute(f"CREATE DATABASE shop_{service}")
    finally:
        await connection.close()
