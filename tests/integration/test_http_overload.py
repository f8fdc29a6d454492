"""Scenario 20 in small: twice what a server can do, over real sockets."""

import asyncio
import time

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Pipeline
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.load_shedder import LoadShedder
from prodkit.service.health import Health
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http_server import HttpServer

pytestmark = pytest.mark.anyio

PLACES, SERVICE = 4, 0.1  # 40 calls a second
SECONDS, RATE = 5.0, 80


class Shop:
    """Takes orders, four at a time; the rest stand in line for its database."""

    def __init__(self):
        self.places = asyncio.Semaphore(PLACES)
        self.done = self.inside = self.most = 0
        health = Health()
        self.app = Starlette(routes=[Route("/orders", self.order), *health.routes()])

    async def order(self, request):
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            async with self.places:
                await asyncio.sleep(SERVICE)
        finally:
            self.inside -= 1
        self.done += 1
        return PlainTextResponse("done")


async def overload(app):
    """Send RATE requests a second for SECONDS, and a probe each second.

    Return (status, seconds, retry-after) of each request, and the statuses of the probes.
    """
    server = HttpServer(app)
    await server.start()
    limits = httpx2.Limits(max_connections=500, max_keepalive_connections=500)
    url = f"http://127.0.0.1:{server.port}"
    probes = []

    async def ask(client):
        began = time.perf_counter()
        response = await client.get("/orders")
        took = time.perf_counter() - began
        return response.status_code, took, response.headers.get("retry-after")

    try:
        async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
            tasks = []
            began = time.perf_counter()
            for number in range(int(SECONDS * RATE)):
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                tasks.append(asyncio.create_task(ask(client)))
                if number % RATE == 0:
                    probes.append((await client.get("/health/live")).status_code)
            answers = await asyncio.gather(*tasks)
    finally:
        await server.stop(1)
    return answers, probes


def report(answers):
    served = sorted(took for status, took, _ in answers if status == 200)
    refused = sorted(took for status, took, _ in answers if status != 200)
    print(  # noqa: T201 - the times that this machine needed decide nothing
        f"\nserved {len(served)}, p50 {served[len(served) // 2]:.3f} s, worst {served[-1]:.3f} s; "
        f"refused {len(refused)}, p50 {refused[len(refused) // 2] * 1000:.1f} ms, "
        f"worst {refused[-1] * 1000:.1f} ms"
    )
    return served, refused


async def test_20_who_is_refused_is_told_at_once_and_who_is_served_is_served_in_time():
    shop = Shop()
    shedder = LoadShedder(floor=4, initial=10, ceiling=100)
    answers, probes = await overload(PipelineMiddleware(shop.app, Pipeline(shedder)))
    served, refused = report(answers)
    assert probes == [200] * int(SECONDS)
    assert {status for status, _, _ in answers} == {200, 503}
    assert {wait for status, _, wait in answers if status == 503} == {"1"}
    assert len(served) == shop.done
    assert shop.done >= 0.8 * SECONDS * PLACES / SERVICE  # of what it can do
    assert shop.most <= 20  # unprotected it would be two hundred in the end
    assert shedder.in_flight == 0
    # Times decide with slack alone: an unprotected line is five seconds long in the end.
    assert served[len(served) // 2] < 1.0
    assert refused[len(refused) // 2] < 0.25


async def test_a_bulkhead_bounds_who_runs_and_who_waits():
    shop = Shop()
    bulkhead = Bulkhead("orders", limit=PLACES, queue=PLACES, max_wait=2)
    answers, _ = await overload(PipelineMiddleware(shop.app, Pipeline(bulkhead)))
    served, _ = report(answers)
    assert {status for status, _, _ in answers} == {200, 503}
    assert all(wait for status, _, wait in answers if status == 503)
    assert shop.most <= PLACES
    assert shop.done >= 0.8 * SECONDS * PLACES / SERVICE
    assert (bulkhead.running, bulkhead.waiting) == (0, 0)
    assert served[len(served) // 2] < 1.0
