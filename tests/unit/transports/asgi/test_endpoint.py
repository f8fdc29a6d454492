"""Policies on one route: they run on the very call that the door answers."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import Annotated

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from prodkit import Code, Pipeline, Principal, current_call
from prodkit.call import CURRENT, Call
from prodkit.errors import ConfigurationError, NotFoundError
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import Chaos
from prodkit.policies.circuit_breaker import CircuitBreaker, KeyedCircuitBreaker, by_operation
from prodkit.policies.deadline import Deadline
from prodkit.policies.fallback import Fallback
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.telemetry import Observe, Telemetry
from prodkit.transports.asgi import BufferedResponse, PipelineMiddleware, route_pipeline

pytestmark = pytest.mark.anyio


class Watch:
    """A middleware that keeps what it saw."""

    def __init__(self):
        self.seen = []

    async def __call__(self, call, proceed):
        operation = call.operation
        try:
            result = await proceed(call)
        except Exception as error:
            self.seen.append((operation, error))
            raise
        self.seen.append((operation, call.code, call.status))
        return result


async def give_stock() -> int:
    return 7


async def stock(product: str, units: Annotated[int, Depends(give_stock)], least: int = 0) -> dict:
    """Say how many there are."""
    return {"product": product, "units": units, "least": least}


def limit(calls: int = 1, **options) -> RateLimiter:
    return RateLimiter(Rate(calls, per=60), key=by_client, **options)


def starlette(endpoint, path: str = "/stock/{product}", **options) -> Starlette:
    return Starlette(routes=[Route(path, endpoint, **options)])


def door(app, *members) -> httpx2.AsyncClient:
    guarded = PipelineMiddleware(app, Pipeline(*members))
    transport = httpx2.ASGITransport(app=guarded, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://shop.test")


async def text(request):
    return PlainTextResponse("text")


class TestWhatIsRefused:
    async def test_it_is_the_routes_own_refusal(self):
        app = FastAPI()
        app.get("/stock/{product}")(route_pipeline(Pipeline(limit()))(stock))
        app.get("/free")(give_stock)
        async with door(app) as client:
            first, second = await client.get("/stock/tea"), await client.get("/stock/tea")
            assert (await client.get("/free")).status_code == 200
        assert first.json() == {"product": "tea", "units": 7, "least": 0}
        assert first.headers["ratelimit"] == '"default";r=0;t=60'
        assert second.status_code == 429
        assert second.headers["retry-after"] == "60"
        assert second.headers["ratelimit"] == '"default";r=0;t=60'
        assert second.headers["ratelimit-policy"] == '"default";q=1;w=60'
        assert second.json()["reason"] == "RATE_LIMITED"
        assert second.headers.get_list("x-request-id") == [second.json()["request_id"]]

    async def test_the_fields_of_door_and_route_are_one_list(self):
        app = starlette(route_pipeline(Pipeline(limit(1, name="route")))(text))
        async with door(app, limit(9, name="door")) as client:
            answer = await client.get("/stock/tea")
        assert answer.headers.get_list("ratelimit") == ['"door";r=8;t=7, "route";r=0;t=60']

    async def test_a_breaker_of_the_route_refuses_with_503(self):
        async def busy(request):
            raise HTTPException(503)

        app = starlette(route_pipeline(Pipeline(CircuitBreaker("r", consecutive_failures=1)))(busy))
        async with door(app) as client:
            first, second = await client.get("/stock/tea"), await client.get("/stock/tea")
        assert (first.status_code, first.text) == (503, "Service Unavailable")
        assert (second.status_code, second.json()["reason"]) == (503, "CIRCUIT_OPEN")
        assert int(second.headers["retry-after"]) >= 1

    async def test_who_calls_is_known_to_the_route(self):
        async def login(call, proceed):
            call.principal = Principal(call.metadata["x-user"])
            return await proceed(call)

        app = starlette(route_pipeline(Pipeline(RateLimiter(Rate(1, per=60))))(text))
        async with door(app, login) as client:
            codes = [
                (await client.get("/stock/tea", headers={"x-user": user})).status_code
                for user in ("ann", "bob", "ann")
            ]
        assert codes == [200, 200, 429]


class TestWhatPoliciesSee:
    @pytest.mark.parametrize("wrapped", [False, True])
    async def test_the_operation_is_the_routes(self, wrapped):
        async def through(request, call_next):
            return await call_next(request)

        watch = Watch()
        router = APIRouter(prefix="/stock")
        router.get("/{product}")(route_pipeline(Pipeline(watch))(stock))
        app = FastAPI()
        app.include_router(router, prefix="/v1")
        if wrapped:
            app.add_middleware(BaseHTTPMiddleware, dispatch=through)
        async with door(app) as client:
            assert (await client.get("/v1/stock/tea")).status_code == 200
        assert watch.seen == [("GET /v1/stock/{product}", Code.OK, 0)]

    async def test_through_a_mount_too(self):
        watch = Watch()
        app = Starlette(routes=[Mount("/v1", starlette(route_pipeline(Pipeline(watch))(text)))])
        async with door(app) as client:
            assert (await client.get("/v1/stock/tea")).status_code == 200
        assert watch.seen == [("GET /v1/stock/{product}", Code.OK, 200)]

    async def test_a_breaker_for_each_operation_works_here(self):
        breaker = KeyedCircuitBreaker("routes", key=by_operation)
        app = starlette(route_pipeline(Pipeline(breaker))(text))
        async with door(app) as client:
            assert (await client.get("/stock/tea")).status_code == 200

    async def test_an_http_exception_is_an_answer_with_a_code(self):
        async def lost(request):
            raise HTTPException(404, "no such product")

        watch = Watch()
        async with door(starlette(route_pipeline(Pipeline(watch))(lost))) as client:
            answer = await client.get("/stock/tea")
        assert (answer.status_code, answer.text) == (404, "no such product")
        assert watch.seen == [("GET /stock/{product}", Code.NOT_FOUND, 404)]

    async def test_a_response_tells_its_code(self):
        async def away(request):
            return PlainTextResponse("away", status_code=503)

        watch = Watch()
        async with door(starlette(route_pipeline(Pipeline(watch))(away))) as client:
            assert (await client.get("/stock/tea")).status_code == 503
        assert watch.seen == [("GET /stock/{product}", Code.UNAVAILABLE, 503)]

    async def test_a_service_error_passes_as_it_is(self):
        async def lost(request):
            raise NotFoundError("no such product")

        watch = Watch()
        async with door(starlette(route_pipeline(Pipeline(watch))(lost))) as client:
            answer = await client.get("/stock/tea")
        assert (answer.status_code, answer.json()["detail"]) == (404, "no such product")
        [(_, error)] = watch.seen
        assert isinstance(error, NotFoundError)

    async def test_it_is_the_call_of_the_door(self):
        seen = []

        async def see(call, proceed):
            seen.append(call is current_call())
            return await proceed(call)

        async with door(starlette(route_pipeline(Pipeline(see))(text))) as client:
            await client.get("/stock/tea")
        assert seen == [True]


class TestWhatAnswers:
    async def test_a_fallback_may_stand_in(self):
        async def broken(request):
            raise ConnectionError("the database is away")

        pipeline = Pipeline(Fallback(lambda call, error: JSONResponse([]), on=Code.UNAVAILABLE))
        async with door(starlette(route_pipeline(pipeline)(broken))) as client:
            answer = await client.get("/stock/tea")
        assert (answer.status_code, answer.json()) == (200, [])

    async def test_a_fallback_may_stand_in_for_an_http_exception(self):
        async def broken(request):
            raise HTTPException(503)

        pipeline = Pipeline(Fallback(lambda call, error: JSONResponse([]), on=Code.UNAVAILABLE))
        async with door(starlette(route_pipeline(pipeline)(broken))) as client:
            assert (await client.get("/stock/tea")).json() == []

    async def test_a_middleware_may_answer_as_at_the_door(self):
        async def closed(call, proceed):
            return BufferedResponse(418, [(b"content-type", b"text/plain"), (b"x-a", b"1")], b"tea")

        async with door(starlette(route_pipeline(Pipeline(closed))(text))) as client:
            answer = await client.get("/stock/tea")
        assert (answer.status_code, answer.text, answer.headers["x-a"]) == (418, "tea", "1")

    async def test_a_lost_answer_was_not_sent(self):
        pipeline = Pipeline(Chaos(environment="test", abort_rate=1.0))
        async with door(starlette(route_pipeline(pipeline)(text))) as client:
            assert (await client.get("/stock/tea")).status_code == 503

    async def test_dependencies_and_methods_may_have_policies_too(self):
        guarded = route_pipeline(Pipeline(limit()))

        class Stock(HTTPEndpoint):
            @guarded
            async def get(self, request):
                return PlainTextResponse("stock")

        async def units(units: int = Depends(guarded(give_stock))) -> int:
            return units

        app = FastAPI()
        app.get("/units")(units)
        app.mount("/stock", Starlette(routes=[Route("/", Stock)]))
        async with door(app) as client:
            codes = [(await client.get(path)).status_code for path in ("/units", "/stock/")]
        assert codes == [200, 429]  # one pipeline, one count

    async def test_endpoints_that_call_each_other_at_once_keep_their_arguments(self):
        async def wait(call, proceed):
            await asyncio.sleep(0)
            return await proceed(call)

        guarded = route_pipeline(Pipeline(wait))

        @guarded
        async def part(name: str) -> str:
            return name

        @guarded
        async def whole(request):
            parts = await asyncio.gather(part("a"), part(name="b"), part("c"))
            return PlainTextResponse("".join([*parts, request.path_params["product"]]))

        async with door(starlette(whole)) as client:
            assert (await client.get("/stock/tea")).text == "abctea"

    async def test_a_websocket_is_refused_before_it_is_accepted(self):
        accepted = []

        @route_pipeline(Pipeline(limit()))
        async def live(websocket):
            accepted.append(True)
            await websocket.accept()
            await websocket.close()

        app = Starlette(routes=[WebSocketRoute("/live/{product}", live)])
        guarded = PipelineMiddleware(app, Pipeline())
        sent = []
        for _ in range(2):
            messages = [{"type": "websocket.connect"}]

            async def receive(messages=messages):
                return messages.pop(0)

            async def send(message):
                sent.append(message)

            await guarded(
                {
                    "type": "websocket",
                    "path": "/live/tea",
                    "raw_path": b"/live/tea",
                    "root_path": "",
                    "query_string": b"",
                    "headers": [],
                    "client": ("192.0.2.7", 4711),
                    "subprotocols": [],
                    "extensions": {"websocket.http.response": {}},
                },
                receive,
                send,
            )
        assert accepted == [True]
        assert sent[2]["status"] == 429
        assert (b"ratelimit", b'"default";r=0;t=60') in sent[2]["headers"]


class TestDecoration:
    def test_the_signature_is_kept(self):
        guarded = route_pipeline(Pipeline(Deadline(1)))(stock)
        assert inspect.signature(guarded) == inspect.signature(stock)
        assert (guarded.__name__, guarded.__doc__) == ("stock", "Say how many there are.")
        assert inspect.iscoroutinefunction(guarded)

    def test_what_waits_limits_and_breaks_has_its_place_here(self):
        pipeline = Pipeline(
            Deadline(2.0), limit(), Bulkhead("db", limit=2), CircuitBreaker("db"), Timeout(1.0)
        )
        route_pipeline(pipeline)(stock)

    @pytest.mark.parametrize(
        ("member", "why"),
        [
            (
                Idempotency(MemoryIdempotencyStore(), secret=b"0" * 16),
                "Idempotency needs a door that can keep answers: .*PipelineMiddleware",
            ),
            (Retry(on=Code.UNAVAILABLE), "Retry is for outbound calls only"),
            (Observe(Telemetry("shop")), "Observe .* counted twice"),
        ],
    )
    def test_what_cannot_be_here_is_refused_at_once(self, member, why):
        with pytest.raises(ConfigurationError, match=f"route_pipeline: {why}"):
            route_pipeline(Pipeline(member))(stock)

    def test_a_member_is_no_pipeline(self):
        with pytest.raises(ConfigurationError, match=r"pipeline must be a Pipeline"):
            route_pipeline(Deadline(1))

    def test_a_sync_endpoint_is_refused(self):
        def plain(request):
            return PlainTextResponse("text")

        with pytest.raises(ConfigurationError, match=r"plain is no `async def`.*run_in_threadpool"):
            route_pipeline(Pipeline())(plain)

    @pytest.mark.parametrize("endpoint", [HTTPEndpoint, 7, partial(text, None)])
    def test_what_is_no_function_is_refused(self, endpoint):
        with pytest.raises(ConfigurationError, match="goes around an async endpoint function"):
            route_pipeline(Pipeline())(endpoint)

    def test_a_generator_is_refused(self):
        async def lines():
            yield "line"

        with pytest.raises(ConfigurationError, match=r"lines is a generator"):
            route_pipeline(Pipeline())(lines)


class TestOutsideOfADoor:
    @pytest.mark.parametrize("call", [None, Call("queue orders")])
    async def test_it_says_what_is_missing(self, call):
        guarded = route_pipeline(Pipeline(limit()))(give_stock)
        token = CURRENT.set(call)
        try:
            with pytest.raises(
                ConfigurationError, match=r"give_stock: put PipelineMiddleware around the app"
            ):
                await guarded()
        finally:
            CURRENT.reset(token)
