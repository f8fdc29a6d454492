"""Scenario 33: two processes on one data folder, restarted in turn under load; nobody notices."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from harness import CARD, Process, Shop, eventually, free_port

#: The share of requests that place an order, and of those that also pay, `writes` times.
ORDERS, CHECKOUTS = 0.08, 0.04
#: Seconds that the router's view is old, and those that a process goes on serving for its sake.
STALE, DRAIN_DELAY = 0.5, 3


class Replica:
    """One of the shop's processes."""

    def __init__(self, shop: Shop, port: int) -> None:
        self._shop = shop
        admin_port = free_port()
        self._env = shop.env | {"SHOP_PORT": str(port), "SHOP_ADMIN_PORT": str(admin_port)}
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        self.process = Process("serve", self._shop.folder, self._env)


class Router:
    """Sends requests to the replicas that were ready when it last looked, a moment ago."""

    def __init__(self, replicas: list[Replica]) -> None:
        limits = httpx2.Limits(max_keepalive_connections=20, keepalive_expiry=60.0)
        self._clients = [
            httpx2.AsyncClient(base_url=each.url, limits=limits, timeout=20.0) for each in replicas
        ]
        self.ready: list[httpx2.AsyncClient] = []
        self._turn = itertools.count()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Router]:
        polling = asyncio.create_task(self._poll())
        try:
            yield self
        finally:
            polling.cancel()
            await asyncio.wait([polling])
            for client in self._clients:
                await client.aclose()

    async def request(self, method: str, path: str, **options: object) -> httpx2.Response:
        client = self.ready[next(self._turn) % len(self.ready)]
        return await client.request(method, path, **options)  # type: ignore[arg-type]

    async def all_ready(self) -> None:
        while len(self.ready) < len(self._clients):
            await asyncio.sleep(0.05)

    async def _poll(self) -> None:
        while True:
            asked = [self._is_ready(client) for client in self._clients]
            answers = await asyncio.gather(*asked)
            ready = [c for c, yes in zip(self._clients, answers, strict=True) if yes]
            await asyncio.sleep(STALE)
            self.ready = ready or self._clients  # what was true `STALE` ago; if none was, try all

    @staticmethod
    async def _is_ready(client: httpx2.AsyncClient) -> bool:
        try:
            return (await client.get("/health/ready")).status_code == 200
        except httpx2.TransportError:
            return False


class Load:
    """Asks `rate` times a second, whatever the answers; remembers those that failed."""

    def __init__(
        self,
        router: Router,
        shop: Shop,
        customers: list[dict[str, str]],
        product: str,
        *,
        rate: float,
        writes: float,
    ) -> None:
        self._rate = rate
        self._writes = writes
        self.answers: Counter[int] = Counter()
        self.failed: list[str] = []
        self.orders: list[str] = []
        self.waits: list[float] = []
        self._router = router
        self._body = shop.order_body(product)
        self._means = {"payment_method": "credit_card", "payment_details": CARD}
        self._customers = customers
        self._product = product

    def __str__(self) -> str:
        waits = sorted(self.waits)
        told = f"{len(waits)} answers {dict(self.answers)}, {len(self.failed)} failed"
        return f"{told}, median {waits[len(waits) // 2]:.3f} s, longest {waits[-1]:.2f} s"

    async def run(self, until: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            due = time.monotonic()
            while not until.is_set():
                group.create_task(self._ask())
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _ask(self) -> None:
        began = time.monotonic()
        try:
            answer = await self._request()
        except httpx2.HTTPError as error:
            self.failed.append(f"{time.strftime('%X')} {error!r}")
            return
        self.waits.append(time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code not in (200, 201):
            self.failed.append(f"{time.strftime('%X')} {answer.status_code} {answer.text}")
        elif answer.status_code == 201:
            told = answer.json()
            self.orders.append(told["order"]["id"] if "order" in told else told["id"])

    async def _request(self) -> httpx2.Response:
        ask = self._router.request
        customer, chance = random.choice(self._customers), random.random()
        if chance < CHECKOUTS * self._writes:
            body = self._body | self._means
            return await ask("POST", "/api/v1/checkout", json=body, headers=customer)
        if chance < (CHECKOUTS + ORDERS) * self._writes:
            return await ask("POST", "/api/v1/orders", json=self._body, headers=customer)
        path = random.choice(["/api/v1/products", f"/api/v1/products/{self._product}"])
        return await ask("GET", path)


@pytest.mark.anyio
async def test_a_rolling_restart_fails_no_request(make_shop: Callable[..., Shop]) -> None:
    await _restart_under_load(make_shop, rate=30, rounds=2)


@pytest.mark.anyio
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_same_at_100_requests_a_second(make_shop: Callable[..., Shop]) -> None:
    # While one starts the other has one core, and as many orders as it can do in that.
    await _restart_under_load(make_shop, rate=100, rounds=4, writes=0.4)


async def _restart_under_load(
    make_shop: Callable[..., Shop], *, rate: float, rounds: int, writes: float = 1.0
) -> None:
    shop = make_shop(drain_delay=DRAIN_DELAY)
    shop.start_sandbox()
    replicas = [Replica(shop, shop.port), Replica(shop, free_port())]
    try:
        for each in replicas:
            await asyncio.to_thread(_await_ready, each)
        product = shop.product(inventory=100_000)
        customers = [shop.customer() for _ in range(8)]
        async with Router(replicas).running() as router:
            await router.all_ready()
            load = Load(router, shop, customers, product, rate=rate, writes=writes)
            over = asyncio.Event()
            running = asyncio.create_task(load.run(over))
            codes = [await _restart(each, router) for each in replicas * rounds]
            over.set()
            await running
        known = {order for (order,) in shop.rows("orders", "SELECT id FROM orders")}
        code, told = await asyncio.to_thread(lambda: shop.audit(limit=900, patience=30))
    finally:
        for each in replicas:
            each.process.kill()
    print(f"\n{load}; exits {codes}")
    print(told)
    assert set(codes) == {0}
    assert load.failed == []
    assert len(load.answers) == 2
    assert set(load.orders) <= known
    assert code == 0


async def _restart(replica: Replica, router: Router) -> int:
    code = await asyncio.to_thread(replica.process.terminate)
    replica.start()
    await asyncio.sleep(STALE)
    await router.all_ready()
    return code


def _await_ready(replica: Replica) -> None:
    def ready() -> bool:
        assert replica.process.running(), replica.process.log.read_text()[-3000:]
        try:
            return httpx2.get(f"{replica.url}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    eventually(ready, within=60)
