"""Private PostgreSQL, Redis and RabbitMQ for shops, and shops of several processes over them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
from harness import Process, Shop, eventually, free_port
from prodkit.testing.servers import PrivatePostgres, PrivateRabbitMQ, PrivateRedis

from ecommerce.peers import SERVICES

#: The processes of a small fleet. Whatever can go wrong between processes can between these.
FLEET = (("gateway", "users", "catalog"), ("orders", "payments"), ("orders", "notifications"))


class Servers:
    """One of each; every shop has databases, a virtual host and a Redis database of its own.

    `durable` has PostgreSQL sync what it commits; `settings` are added to its own.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._stack = ExitStack()
        self._numbers = count(1)
        # A shop has some sixty connections.
        own = {"max_connections": "300", **(settings or {})}
        self.postgres = PrivatePostgres(durable=durable, settings=own)
        self.redis = PrivateRedis()
        self.rabbitmq = PrivateRabbitMQ()

    def start(self) -> Servers:
        for server in (self.postgres, self.redis, self.rabbitmq):
            self._stack.enter_context(server)
        return self

    def close(self) -> None:
        self._stack.close()

    def settings(self) -> dict[str, object]:
        """Make room for a shop; return the settings that put it there."""
        name = f"shop{next(self._numbers)}"
        self.rabbitmq.control("add_vhost", name)
        self.rabbitmq.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return {
            "database_url": self.database_url(name),
            "broker_url": f"{self.rabbitmq.url}{name}",
            "redis_url": self.redis.url.replace("/0", f"/{name.removeprefix('shop')}"),
        }

    def database_url(self, name: str = "") -> str:
        """Make the databases of a shop; return the setting that leads there."""
        name = name or f"shop{next(self._numbers)}"
        execute(self.postgres.dsn, *(f"CREATE DATABASE {name}_{service}" for service in SERVICES))
        return f"{self.postgres.dsn.removesuffix('/postgres')}/{name}_" + "{service}"


class EnginesShop(Shop):
    """A shop over servers, all in one process."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, **settings)
        self.database_url = str(settings["database_url"])

    def start_shop(self, *, wait: bool = True) -> None:
        self.migrate()
        super().start_shop(wait=wait)

    def migrate(self) -> None:
        code, said = self.run("migrate")
        assert code == 0, said

    def rows(self, service: str, query: str) -> list[tuple[Any, ...]]:
        return execute(self.dsn(service), query)

    def execute(self, service: str, statement: str) -> None:
        """Change a service's database behind its back."""
        execute(self.dsn(service), statement)

    def dsn(self, service: str) -> str:
        return self.database_url.replace("{service}", service)


class Fleet(EnginesShop):
    """A shop of several processes, over gRPC."""

    def __init__(
        self, folder: Path, *, groups: Sequence[Sequence[str]] = FLEET, **settings: object
    ) -> None:
        self._groups = [(group, free_port(), free_port()) for group in groups]
        peers = {
            service: ",".join(
                f"127.0.0.1:{port}" for group, port, _ in self._groups if service in group
            )
            for service in SERVICES
        }
        super().__init__(folder, mesh="grpc", peers=json.dumps(peers), **settings)
        self.processes: list[Process] = []

    def start_shop(self, *, wait: bool = True) -> None:
        self.migrate()
        self.processes = [self.start_process(number) for number in range(len(self._groups))]
        self.shop = self.processes[0]
        if wait:
            self.await_ready()

    def _addresses(self, service: str) -> list[str]:
        return [f"127.0.0.1:{port}" for group, port, _ in self._groups if service in group]

    def start_process(self, number: int) -> Process:
        """Start the processes of one group of services."""
        group, grpc_port, admin_port = self._groups[number]
        own = {"SHOP_GRPC_PORT": str(grpc_port), "SHOP_ADMIN_PORT": str(admin_port)}
        return Process("serve", self.folder, self.env | own, *group)

    def await_ready(self) -> None:
        eventually(self._serves, within=120.0)

    def _serves(self) -> bool:
        """Say whether all of it does: the gateway asks the others."""
        for process in self.processes:
            assert process.running(), process.log.read_text()[-4000:]
        try:
            return self.api.get("/health").json()["status"] == "healthy"
        except httpx2.TransportError:
            return False

    @property
    def metrics_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{admin}/metrics" for _, _, admin in self._groups]

    def close(self) -> None:
        for process in self.processes[1:]:
            if process.running():
                process.kill()
        super().close()


def execute(dsn: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each for itself; return the rows of the last one."""

    async def run() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            for each in statements[:-1]:
                await connection.execute(each)
            return [tuple(row) for row in await connection.fetch(statements[-1])]
        finally:
            await connection.close()

    return asyncio.run(run())
