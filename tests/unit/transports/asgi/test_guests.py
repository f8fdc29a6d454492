"""Starlette and FastAPI apps as guests: templates through mounts and included routers, errors."""

import asyncio

import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route

from prodkit import Pipeline
from prodkit.errors import NotFoundError
from prodkit.policies.circuit_breaker import CircuitBreaker, State
from prodkit.policies.deadline import Deadline
from prodkit.testing import ManualClock
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


async def text(request):
    return PlainTextResponse("text")


async def opaque(scope, receive, send):
    await PlainTextResponse("opaque")(scope, receive, send)


async def missing(request):
    raise NotFoundError("no such order")


async def http_error(request):
    raise HTTPException(418)


async def broken(request):
    raise RuntimeError("secret")


async def stream(request):
    async def chunks():
        yield b"a"
        yield b"b"

    return StreamingResponse(chunks())


async def upload(request):
    return PlainTextResponse(await request.body())


def starlette_app() -> Starlette:
    inner = Starlette(
        routes=[
            Route("/items/{id:int}", text),
            Mount("/deep/{tenant}", routes=[Route("/z/{q}", text)]),
        ]
    )
    return Starlette(
        routes=[
            Route("/orders/{id}", text),
            Route("/files/{path:path}", text),
            Route("/missing", missing),
            Route("/http-error", http_error),
            Route("/broken", broken),
            Route("/stream", stream),
            Route("/upload", upload, methods=["POST"]),
            Mount("/shops/{shop:int}", app=inner),
            Mount("/opaque", app=opaque),
        ]
    )


def fastapi_app() -> FastAPI:
    users = APIRouter(prefix="/users")

    @users.get("/{user_id}")
    async def user(user_id: int) -> int:
        return user_id

    users.add_route("/plain/{p}", text)
    users.mount("/mounted/{w}", Starlette(routes=[Route("/items/{id}", text)]))
    users.mount("/opaque/{w}", opaque)
    api = APIRouter(prefix="/api")
    api.include_router(users, prefix="/v1")
    app = FastAPI()
    app.include_router(api)
    app.include_router(api, prefix="/old")
    second = FastAPI()
    second.include_router(users)
    app.mount("/second", second)
    app.mount("/opaque", opaque)

    @app.get("/own/{k}")
    async def own(k: str) -> str:
        return k

    @app.get("/missing")
    async def not_there() -> None:
        raise NotFoundError("no such order")

    @app.post("/upload")
    async def body(request: Request) -> int:
        return len(await request.body())

    return app


@pytest.fixture
def visit(ask):
    async def run(guest, path, method="GET", **extra):
        calls = []

        async def record(call, proceed):
            calls.append(call)
            return await proceed(call)

        answer = await ask(PipelineMiddleware(guest, Pipeline(record)), method, path, **extra)
        return answer, calls[0]

    return run


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/orders/7", "/orders/{id}"),
        ("/files/a/b", "/files/{path}"),
        ("/shops/3/items/9", "/shops/{shop}/items/{id}"),
        ("/shops/3/deep/3/z/3", "/shops/{shop}/deep/{tenant}/z/{q}"),
        ("/shops/03/items/9", "/{mount}/items/{id}"),
        ("/shops/3/nowhere", "/shops/{shop}/{path}"),
        ("/opaque/x/y", "/opaque/{path}"),
    ],
)
async def test_the_template_of_a_starlette_route(visit, path, template):
    _, call = await visit(starlette_app(), path)
    assert call.operation == f"GET {template}"


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/own/7", "/own/{k}"),
        ("/api/v1/users/7", "/api/v1/users/{user_id}"),
        ("/api/v1/users/x", "/api/v1/users/{user_id}"),
        ("/old/api/v1/users/7", "/old/api/v1/users/{user_id}"),
        ("/api/v1/plain/7", "/api/v1/plain/{p}"),
        ("/api/v1/mounted/7/items/7", "/api/v1/mounted/{w}/items/{id}"),
        ("/api/v1/opaque/7/items/7", "/api/v1/opaque/{w}/{path}"),
        ("/second/users/7", "/second/users/{user_id}"),
        ("/opaque/7", "/opaque/{path}"),
        ("/docs", "/docs"),
    ],
)
async def test_the_template_of_a_fastapi_route(visit, path, template):
    _, call = await visit(fastapi_app(), path)
    assert call.operation == f"GET {template}"


@pytest.mark.parametrize("guest", [starlette_app(), fastapi_app()])
async def test_what_no_route_answers_keeps_its_raw_path(visit, guest):
    answer, call = await visit(guest, "/nowhere")
    assert answer.status == 404
    assert call.operation == "GET /nowhere"


async def test_a_root_path_is_no_part_of_the_template(visit):
    answer, call = await visit(
        starlette_app(), "/base/shops/3/items/9", root_path="/base", raw_path=b"/base/x"
    )
    assert answer.status == 200
    assert call.operation == "GET /shops/{shop}/items/{id}"


@pytest.mark.parametrize("guest", [starlette_app(), fastapi_app()])
async def test_service_errors_of_a_handler_become_problems(visit, guest):
    answer, call = await visit(guest, "/missing")
    assert answer.status == 404
    assert answer.problem["detail"] == "no such order"
    assert call.operation == "GET /missing"


async def test_an_unknown_error_of_a_handler_becomes_a_problem(visit):
    answer, _ = await visit(starlette_app(), "/broken")
    assert answer.status == 500
    assert answer.problem["code"] == "UNKNOWN"
    assert b"secret" not in answer.body


async def test_what_the_framework_answers_by_itself_stays(visit):
    answer, call = await visit(starlette_app(), "/http-error")
    assert (answer.status, call.status) == (418, 418)
    answer, _ = await visit(starlette_app(), "/orders/1", "DELETE")
    assert answer.status == 405


@pytest.mark.parametrize("guest", [starlette_app(), fastapi_app()])
async def test_a_body_over_the_limit_is_413_whatever_the_framework_makes_of_it(ask, guest):
    app = PipelineMiddleware(guest, Pipeline(), body_limit=4)
    answer = await ask(app, "POST", "/upload", chunks=[b"abc", b"def"])
    assert answer.status == 413


async def test_streams_and_base_http_middleware(visit):
    answer, call = await visit(starlette_app(), "/stream")
    assert answer.body == b"ab"
    assert call.streaming

    async def pass_on(request, call_next):
        return await call_next(request)

    app = starlette_app()
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    answer, call = await visit(app, "/orders/1")
    assert answer.body == b"text"
    assert call.operation == "GET /orders/{id}"


async def test_a_breaker_sees_refusals_through_middleware_that_makes_streams_of_them(ask):
    async def unavailable(request):
        raise HTTPException(503)

    async def pass_on(request, call_next):
        return await call_next(request)

    app = Starlette(routes=[Route("/", unavailable)])
    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_on)
    breaker = CircuitBreaker("guest", consecutive_failures=1)
    await ask(PipelineMiddleware(app, Pipeline(breaker)))
    assert breaker.state is State.OPEN


async def test_a_background_task_may_outlast_the_deadline_of_its_answer(ask):
    clock, done = ManualClock(), []

    async def work():
        await clock.sleep(5.0)
        done.append(1)

    async def accepted(request):
        return PlainTextResponse("accepted", 202, background=BackgroundTask(work))

    app = Starlette(routes=[Route("/", accepted)])
    guarded = PipelineMiddleware(app, Pipeline(Deadline(1.0, clock=clock)))
    asking = asyncio.create_task(ask(guarded))
    await clock.advance(6.0)
    assert (await asking).status == 202
    assert done == [1]
