"""Request bodies: how large, how slow, and the whole of it when somebody needs it."""

import asyncio

import pytest

from prodkit import Code, Pipeline
from prodkit.testing import ManualClock
from prodkit.transports.asgi import PipelineMiddleware

pytestmark = pytest.mark.anyio


async def echo(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def swallowing(status):
    """Return a guest that answers by itself whatever goes wrong, as frameworks do."""

    async def guest(scope, receive, send):
        try:
            await echo(scope, receive, send)
        except Exception:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"the guest's own"})

    return guest


async def test_a_body_of_the_limit_passes(ask):
    app = PipelineMiddleware(echo, Pipeline(), body_limit=6)
    assert (await ask(app, "POST", chunks=[b"abc", b"def"])).body == b"abcdef"


@pytest.mark.parametrize("guest", [echo, swallowing(400), swallowing(500)])
async def test_a_chunked_body_over_the_limit_is_cut(ask, guest):
    app = PipelineMiddleware(guest, Pipeline(), body_limit=5)
    answer = await ask(app, "POST", chunks=[b"abc", b"def", b"never read"])
    assert answer.status == 413
    assert answer.problem["reason"] == "BODY_TOO_LARGE"
    assert answer.headers[b"connection"] == b"close"


async def test_an_announced_body_over_the_limit_is_not_read(ask):
    entered = []

    async def guest(scope, receive, send):
        entered.append(1)

    app = PipelineMiddleware(guest, Pipeline(), body_limit=5)
    answer = await ask(app, "POST", headers=[(b"content-length", b"6")], chunks=[b"abcdef"])
    assert answer.status == 413
    assert not entered


@pytest.mark.parametrize("guest", [echo, swallowing(400)])
async def test_a_slow_body_is_cut_once_the_waiting_adds_up(new_wire, scope_of, guest):
    clock, wire = ManualClock(), new_wire([])
    codes = []

    async def watch(call, proceed):
        try:
            await proceed(call)
        except Exception as error:
            codes.append(error.code)
            raise

    app = PipelineMiddleware(guest, Pipeline(watch), body_timeout=10, clock=clock)
    wait = asyncio.Queue()

    async def receive():
        return {"type": "http.request", "body": await wait.get(), "more_body": True}

    scope = scope_of("POST", headers=[(b"transfer-encoding", b"chunked")])
    task = asyncio.create_task(app(scope, receive, wire.send))
    for _ in range(3):
        await clock.advance(3)
        wait.put_nowait(b".")
    await clock.advance(0.9)
    assert not task.done()
    await clock.advance(0.2)
    await task
    assert wire.answer.status == 408
    assert wire.answer.problem["reason"] == "BODY_TIMEOUT"
    assert codes == [Code.CANCELLED]


async def test_what_the_guest_does_between_chunks_is_not_counted(ask):
    clock = ManualClock()

    async def slow_guest(scope, receive, send):
        await receive()
        sleep = asyncio.create_task(clock.sleep(60))
        await clock.advance(60)
        await sleep
        await echo(scope, receive, send)

    app = PipelineMiddleware(slow_guest, Pipeline(), body_timeout=1, clock=clock)
    assert (await ask(app, "POST", chunks=[b"a", b"b"])).body == b"b"


async def test_a_client_that_leaves_mid_body_is_neither_success_nor_failure(ask):
    from starlette.requests import Request

    errors = []

    async def watch(call, proceed):
        try:
            await proceed(call)
        except Exception as error:
            errors.append(error)
            raise

    async def guest(scope, receive, send):
        await Request(scope, receive).body()

    await ask(PipelineMiddleware(guest, Pipeline(watch)), "POST", chunks=[b"a", None])
    assert [error.code for error in errors] == [Code.CANCELLED]
    assert errors[0].reason == "CLIENT_DISCONNECTED"


async def test_a_disconnect_after_the_body_reaches_the_guest(scope_of, new_wire):
    events = iter(
        [
            {"type": "http.request", "body": b"a", "more_body": False},
            {"type": "http.disconnect"},
        ]
    )
    seen = []

    async def receive():
        return next(events)

    async def guest(scope, receive, send):
        seen.append((await receive())["type"])
        seen.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})

    scope = scope_of("POST", headers=[(b"content-length", b"1")])
    wire = new_wire()
    await PipelineMiddleware(guest, Pipeline())(scope, receive, wire.send)
    assert seen == ["http.request", "http.disconnect"]
    assert wire.answer.status == 200
