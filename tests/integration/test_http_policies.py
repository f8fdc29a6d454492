"""The shipped policies over real sockets: what a client sees of them, and what it does about it."""

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from prodkit import Code, Pipeline
from prodkit.errors import DeadlineExceededError, RejectedError
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.deadline import Deadline
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.policies.retry import Retry
from prodkit.stores.memory import MemoryIdempotencyStore, MemoryRateLimitStore
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http import PipelineTransport
from prodkit.transports.http_server import HttpServer

pytestmark = pytest.mark.anyio


class Orders:
    """Counts what it was asked; fails as often as it is told."""

    def __init__(self):
        self.created = self.failures = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.timeouts: list[float] = []
        routes = [Route("/orders", self.create, methods=["POST"]), Route("/orders", self.list)]
        self.app = Starlette(routes=routes)

    async def create(self, request):
        self.created += 1
        await self.hold.wait()
        return JSONResponse({"order": self.created}, 201)

    async def list(self, request):
        self.timeouts.append(float(request.headers.get("x-request-timeout", 0)))
        if self.failures:
            self.failures -= 1
            return JSONResponse({}, 503, headers={"retry-after": "0"})
        await self.hold.wait()
        return JSONResponse([])


@pytest.fixture
def orders():
    return Orders()


@pytest.fixture
async def serve(orders):
    servers = []

    async def start(*members):
        server = HttpServer(PipelineMiddleware(orders.app, Pipeline(*members)))
        await server.start()
        servers.append(server)
        return f"http://127.0.0.1:{server.port}"

    yield start
    orders.hold.set()
    for server in servers:
        await server.stop(1)


def idempotency() -> Idempotency:
    return Idempotency(
        MemoryIdempotencyStore(), secret=b"0123456789abcdef", scope=lambda call: call.operation
    )


async def test_8_one_key_a_hundred_times_is_one_order(serve, orders):
    url = await serve(idempotency())
    key = {"idempotency-key": '"k-1"'}
    orders.hold.clear()
    async with httpx2.AsyncClient(base_url=url) as client:

        async def post():
            return await client.post("/orders", json={"n": 1}, headers=key)

        first = asyncio.create_task(post())
        while not orders.created:
            await asyncio.sleep(0.001)
        others = await asyncio.gather(*(post() for _ in range(99)))
        orders.hold.set()
        done, again = await first, await post()
        other = await client.post("/orders", json={"n": 2}, headers=key)
        missing_quote = await client.post("/orders", headers={"idempotency-key": '"k'})
        long = await client.post("/orders", headers={"idempotency-key": "k" * 256})
    assert {response.status_code for response in others} == {409}
    assert all(response.headers["retry-after"] == "1" for response in others)
    assert orders.created == 1
    assert (done.status_code, again.status_code) == (201, 201)
    assert done.content == again.content == b'{"order":1}'
    assert (other.status_code, other.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert missing_quote.status_code == 400
    assert (long.status_code, long.json()["reason"]) == (400, "IDEMPOTENCY_KEY_INVALID")


async def test_the_limiter_and_the_deadline_are_told_to_the_client(serve, orders):
    limiter = RateLimiter(Rate(2, per=60), key=by_client, store=MemoryRateLimitStore())
    url = await serve(Deadline(0.1), limiter)
    async with httpx2.AsyncClient(base_url=url) as client:
        good = await client.get("/orders")
        orders.hold.clear()
        late = await client.get("/orders")
        limited = await client.get("/orders")
    assert good.headers["ratelimit"].startswith('"default";r=1')
    assert (late.status_code, late.json()["code"]) == (504, "DEADLINE_EXCEEDED")
    assert late.headers["retry-after"] == "1"
    assert (limited.status_code, limited.json()["policy"]) == (429, "rate_limiter default")
    assert int(limited.headers["retry-after"]) >= limited.json()["retry_after"]
    assert limited.headers["ratelimit-policy"].startswith('"default";q=2;w=60')


async def test_a_client_may_shorten_the_deadline(serve, orders):
    url = await serve(Deadline(30))
    orders.hold.clear()
    async with httpx2.AsyncClient(base_url=url) as client:
        late = await client.get("/orders", headers={"x-request-timeout": "0.05"})
    assert late.status_code == 504


async def test_retries_over_the_outbound_door(serve, orders):
    url = await serve()
    orders.failures = 2
    retry = Retry(on=Code.UNAVAILABLE, wait_initial=0.001, wait_max=0.002)
    transport = PipelineTransport(Pipeline(Deadline(5), retry))
    async with httpx2.AsyncClient(base_url=url, transport=transport) as client:
        assert (await client.get("/orders")).status_code == 200
    assert len(orders.timeouts) == 3
    assert all(0 < left <= 5 for left in orders.timeouts)


async def test_a_breaker_over_the_outbound_door(serve, orders):
    url = await serve()
    orders.failures = 2
    breaker = CircuitBreaker("orders", consecutive_failures=2)
    transport = PipelineTransport(Pipeline(breaker))
    async with httpx2.AsyncClient(base_url=url, transport=transport) as client:
        assert (await client.get("/orders")).status_code == 503
        assert (await client.get("/orders")).status_code == 503
        with pytest.raises(RejectedError):
            await client.get("/orders")
    assert len(orders.timeouts) == 2


async def test_a_deadline_over_the_outbound_door_ends_the_exchange(serve, orders):
    url = await serve()
    orders.hold.clear()
    transport = PipelineTransport(Pipeline(Deadline(0.05)))
    async with httpx2.AsyncClient(base_url=url, transport=transport) as client:
        with pytest.raises(DeadlineExceededError):
            await client.get("/orders")
