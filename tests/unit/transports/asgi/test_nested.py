"""One door inside another: it is one request, with one id, one deadline, one list of rates."""

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from prodkit import Pipeline, Principal, current_call
from prodkit.errors import NotFoundError
from prodkit.policies.deadline import Deadline
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


def limit(name: str, calls: int) -> RateLimiter:
    return RateLimiter(Rate(calls, per=60), key=by_client, name=name)


class Keep:
    def __init__(self):
        self.calls = []

    async def __call__(self, call, proceed):
        self.calls.append(call)
        return await proceed(call)


async def text(request):
    return PlainTextResponse("text")


async def lost(request):
    raise NotFoundError("no such product")


def copied(app):
    """A middleware in between that hands on a scope of its own."""

    async def middle(scope, receive, send):
        await app({**scope, "headers": [*scope["headers"], (b"x-more", b"1")]}, receive, send)

    return middle


def same(app):
    return app


def client(app) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://shop.test")


@pytest.mark.parametrize("between", [same, copied])
@pytest.mark.parametrize("sent", [None, "abc-123"])
@pytest.mark.parametrize(("endpoint", "status"), [(text, 200), (lost, 404)])
async def test_there_is_one_request_id(between, sent, endpoint, status):
    outer, inner = Keep(), Keep()
    app = Starlette(routes=[Route("/", endpoint)])
    nested = PipelineMiddleware(app, Pipeline(inner))
    async with client(PipelineMiddleware(between(nested), Pipeline(outer))) as http:
        headers = {} if sent is None else {"x-request-id": sent}
        answer = await http.get("/", headers=headers)
    [said] = answer.headers.get_list("x-request-id")
    assert outer.calls[0].request_id == inner.calls[0].request_id == said == (sent or said)
    assert outer.calls[0] is not inner.calls[0]
    if status == 404:
        assert answer.json()["request_id"] == said


@pytest.mark.parametrize(("requests", "status", "left"), [(1, 200, 8), (2, 429, 7)])
async def test_the_rates_of_both_are_one_list(requests, status, left):
    app = Starlette(routes=[Route("/", text)])
    nested = PipelineMiddleware(app, Pipeline(limit("inner", 1)))
    async with client(PipelineMiddleware(nested, Pipeline(limit("outer", 9)))) as http:
        for _ in range(requests):
            answer = await http.get("/")
    [rates] = answer.headers.get_list("ratelimit")
    outer, inner = rates.split(", ")
    assert (outer.partition(";t")[0], inner) == (f'"outer";r={left}', '"inner";r=0;t=60')
    assert answer.headers.get_list("ratelimit-policy") == ['"outer";q=9;w=60, "inner";q=1;w=60']
    assert answer.status_code == status


async def test_deadline_and_principal_go_inward():
    async def login(call, proceed):
        call.principal = Principal("ann")
        return await proceed(call)

    async def tell(request: Request):
        call = current_call()
        return PlainTextResponse(f"{call.principal.subject} {call.deadline is not None}")

    inner = PipelineMiddleware(Starlette(routes=[Route("/", tell)]), Pipeline())
    async with client(PipelineMiddleware(inner, Pipeline(login, Deadline(5)))) as http:
        assert (await http.get("/")).text == "ann True"


async def test_the_shorter_deadline_holds():
    keep = Keep()
    inner = PipelineMiddleware(Starlette(routes=[Route("/", text)]), Pipeline(keep))
    outer = Keep()
    door = PipelineMiddleware(inner, Pipeline(Deadline(5), outer))
    async with client(door) as http:
        await http.get("/", headers={"x-request-timeout": "900"})
    assert keep.calls[0].deadline == outer.calls[0].deadline


async def test_a_door_in_a_mount_is_inside_too():
    inner = PipelineMiddleware(Starlette(routes=[Route("/", text)]), Pipeline())
    door = PipelineMiddleware(Starlette(routes=[Mount("/v1", inner)]), Pipeline())
    async with client(door) as http:
        assert len((await http.get("/v1/")).headers.get_list("x-request-id")) == 1


async def test_a_request_of_its_own_has_an_id_of_its_own():
    other = PipelineMiddleware(Starlette(routes=[Route("/", text)]), Pipeline())

    async def ask(request):
        async with client(other) as http:
            answer = await http.get("/")
        return PlainTextResponse(answer.headers["x-request-id"])

    door = PipelineMiddleware(Starlette(routes=[Route("/", ask)]), Pipeline())
    async with client(door) as http:
        answer = await http.get("/")
    assert len(answer.text) == 32
    assert answer.text != answer.headers["x-request-id"]


async def test_a_websocket_has_one_id_too():
    async def accept(scope, receive, send):
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    keep, sent = Keep(), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    door = PipelineMiddleware(PipelineMiddleware(accept, Pipeline(keep)), Pipeline())
    scope = {"type": "websocket", "path": "/", "raw_path": b"/", "headers": [], "extensions": {}}
    await door(scope, receive, send)
    [(name, value)] = sent[0]["headers"]
    assert (name, value.decode()) == (b"x-request-id", keep.calls[0].request_id)
