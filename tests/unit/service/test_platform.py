import asyncio

import pytest

from prodkit.errors import ConfigurationError
from prodkit.service.component import State
from prodkit.service.health import Check, Health
from prodkit.service.platform import Platform
from prodkit.service.service import Service
from prodkit.service.settings import ServiceSettings

pytestmark = pytest.mark.anyio


class Part:
    def __init__(self, name, journal, *, edge=False):
        self.name = name
        self.edge = edge
        self._journal = journal

    async def start(self):
        self._journal.append(f"+{self.name}")

    async def stop(self, grace):
        self._journal.append(f"-{self.name}")


class Console(Part):
    def attach(self, health, drain):
        self.health, self.drain = health, drain


async def fine():
    pass


async def away():
    raise ConnectionError


async def ready(platform, task):
    while platform.state is State.STARTING:
        await asyncio.sleep(0)
    assert platform.state is State.READY, task


async def test_dependency_order_holds_across_services_and_shared_parts_close_once():
    journal = []
    broker = Part("broker", journal)
    orders = Service(
        "orders",
        resources=[Part("orders-db", journal), broker],
        servers=[Part("orders-grpc", journal)],
        consumers=[Part("orders-events", journal)],
    )
    gateway = Service(
        "gateway",
        resources=[broker],
        servers=[Part("http", journal, edge=True)],
        workers=[Part("gateway-worker", journal)],
    )
    console = Console("admin", journal)
    platform = Platform([gateway, orders], admin=console, drain_delay=0.0)
    task = asyncio.create_task(platform.serve())
    await ready(platform, task)
    up = ["admin", "broker", "orders-db", "orders-grpc", "orders-events", "gateway-worker", "http"]
    assert journal == [f"+{name}" for name in up]
    console.drain("test")
    assert await task == 0
    down = ["http", "gateway-worker", "orders-events", "orders-grpc", "orders-db", "broker"]
    assert journal[len(up) :] == [f"-{name}" for name in [*down, "admin"]]


async def test_every_health_hears_of_the_state_and_checks_are_named_by_service():
    shown = Health()
    users = Service("users", checks=[Check("database", fine)])
    orders = Service("orders", checks=[Check("database", away)])
    platform = Platform([users, orders], health=shown, drain_delay=0.0)
    task = asyncio.create_task(platform.serve())
    await ready(platform, task)
    report = await shown.report()
    found = {name: result.status.value for name, result in report.results.items()}
    assert found == {"users.database": "healthy", "orders.database": "unhealthy"}
    assert (await users.health.report()).ready
    assert not (await orders.health.report()).ready
    platform.drain("test")
    assert await task == 0
    assert {h.state for h in (shown, users.health, orders.health)} == {State.STOPPED}


async def test_a_service_alone_keeps_its_health_and_its_names():
    service = Service("users", checks=[Check("database", fine)])
    platform = service.platform()
    assert platform.health is service.health
    assert list((await platform.health.report()).results) == ["database"]


async def test_a_service_takes_draining_from_its_settings():
    stopped = []

    class Slow(Part):
        async def stop(self, grace):
            stopped.append(grace)

    settings = ServiceSettings(drain_delay=0.0, drain_timeout=7.0)
    platform = Service("users", settings=settings, servers=[Slow("http", [], edge=True)]).platform()
    task = asyncio.create_task(platform.serve())
    await ready(platform, task)
    platform.drain("test")
    assert await task == 0
    assert stopped == [pytest.approx(7.0, abs=0.5)]


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_services_need_names_of_their_own(names):
    with pytest.raises(ConfigurationError, match="names"):
        Platform([Service(name) for name in names])
