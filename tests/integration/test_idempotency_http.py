"""Scenario 10: the rules of draft-ietf-httpapi-idempotency-key-header-07, over HTTP."""

import asyncio

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from prodkit import Pipeline, Principal, Trait
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.testing import ManualClock
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


class Authenticate:
    traits = Trait.GIVES_PRINCIPAL

    async def __call__(self, call, proceed):
        call.principal = Principal(call.metadata.get("x-user", "ann"))
        return await proceed(call)


class Bank:
    """Every answer carries a number of its own, so that a second run shows."""

    def __init__(self, *inner, required=True):
        self.runs = 0
        self.clock = ManualClock()
        self.finish = asyncio.Event()
        self.status = 201
        app = Starlette(
            routes=[
                Route("/payments", self.pay, methods=["POST", "GET"]),
                Route("/refunds", self.pay, methods=["POST"]),
                Route("/slow", self.slow, methods=["POST"]),
                Route("/stream", self.stream, methods=["POST"]),
                Route("/broken", self.broken, methods=["POST"]),
            ]
        )
        policy = Idempotency(
            MemoryIdempotencyStore(), secret=b"s" * 32, required=required, clock=self.clock
        )
        door = PipelineMiddleware(app, Pipeline(Authenticate(), policy, *inner))
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(door), base_url="http://bank"
        )

    async def pay(self, request):
        self.runs += 1
        return JSONResponse({"run": self.runs}, self.status, headers={"x-run": str(self.runs)})

    async def slow(self, request):
        await self.finish.wait()
        return await self.pay(request)

    async def stream(self, request):
        async def parts():
            self.runs += 1
            yield b"one,"
            yield b"two"

        return StreamingResponse(parts())

    async def broken(self, request):
        self.runs += 1
        raise ZeroDivisionError

    async def post(self, path="/payments", key='"key"', user="ann", amount=10):
        headers = {"x-user": user} | ({} if key is None else {"idempotency-key": key})
        return await self.client.post(path, headers=headers, json={"amount": amount})


def reason(response):
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["reason"]


async def test_scenario_10_a_replay_is_byte_identical():
    bank = Bank()
    first, again = await bank.post(), await bank.post(key="key")  # unquoted is the same key
    assert (first.status_code, first.json()) == (201, {"run": 1})
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["x-run"] == first.headers["x-run"] == "1"


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        (None, (400, "IDEMPOTENCY_KEY_MISSING")),
        ("k" * 256, (400, "IDEMPOTENCY_KEY_INVALID")),
        ('""', (400, "IDEMPOTENCY_KEY_INVALID")),
    ],
)
async def test_scenario_10_a_missing_or_malformed_key_is_a_400(key, answer):
    bank = Bank()
    assert reason(await bank.post(key=key)) == answer
    assert bank.runs == 0
    assert (await bank.post(key="k" * 255)).status_code == 201


async def test_scenario_10_another_payload_is_a_422():
    bank = Bank()
    await bank.post(amount=10)
    assert reason(await bank.post(amount=1000)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert bank.runs == 1


async def test_scenario_10_while_the_first_runs_the_second_is_a_409_with_retry_after():
    bank = Bank()
    first = asyncio.create_task(bank.post("/slow"))
    await bank.clock.settle()
    second = await bank.post("/slow")
    assert reason(second) == (409, "IDEMPOTENCY_KEY_IN_USE")
    assert second.headers["retry-after"] == "1"
    bank.finish.set()
    assert (await first).status_code == 201
    assert (await bank.post("/slow")).json() == {"run": 1}


async def test_scenario_10_a_key_belongs_to_a_principal_and_a_route():
    bank = Bank()
    answers = [
        await bank.post(),
        await bank.post(user="bob"),
        await bank.post("/refunds"),
    ]
    assert [answer.json()["run"] for answer in answers] == [1, 2, 3]


async def test_scenario_10_after_24_hours_the_key_is_free():
    bank = Bank()
    await bank.post()
    await bank.clock.advance(24 * 3600 - 1)
    assert (await bank.post()).json() == {"run": 1}
    await bank.clock.advance(1)
    assert (await bank.post(amount=1000)).json() == {"run": 2}


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422, 429, 500, 503])
async def test_scenario_10_refusals_and_failures_are_not_kept(status):
    bank = Bank()
    bank.status = status
    assert (await bank.post()).status_code == status
    bank.status = 201
    assert (await bank.post()).json() == {"run": 2}


@pytest.mark.parametrize("status", [200, 204, 303, 402, 404, 410])
async def test_scenario_10_what_the_handler_answered_is_kept(status):
    bank = Bank()
    bank.status = status
    await bank.post()
    bank.status = 201
    assert (await bank.post()).status_code == status
    assert bank.runs == 1


async def test_scenario_10_a_crashed_handler_may_run_again():
    bank = Bank()
    for _ in range(2):
        assert (await bank.post("/broken")).status_code == 500
    assert bank.runs == 2


async def test_scenario_10_the_refusal_of_a_policy_is_not_kept():
    clock = ManualClock()
    bank = Bank(RateLimiter(Rate(1, per=60), clock=clock))
    assert (await bank.post(key="first")).status_code == 201
    assert (await bank.post(key="second")).status_code == 429
    await clock.advance(60.0)
    assert (await bank.post(key="second")).json() == {"run": 2}


async def test_scenario_10_where_it_does_not_apply_it_has_no_effect():
    bank = Bank(required=False)
    streamed = await bank.post("/stream", key=None)
    assert streamed.content == b"one,two"
    assert (await bank.post(key=None)).json() == {"run": 2}
    for run in (3, 4):
        answer = await bank.client.get("/payments", headers={"idempotency-key": "key"})
        assert answer.json() == {"run": run}
