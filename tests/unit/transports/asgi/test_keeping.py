"""Responses that a policy keeps under an idempotency key, and replays."""

import pytest
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse

from prodkit import Code, Pipeline, Trait
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.asgi.exchange import KEPT_LIMIT

pytestmark = pytest.mark.anyio


class Keep:
    """What the idempotency policy does with a codec, without the policy."""

    traits = Trait.REPLAYS

    def __init__(self):
        self.stored: dict[str, bytes] = {}
        self.contents: list[bytes] = []
        self.codes: list[Code] = []

    async def __call__(self, call, proceed):
        if call.key is None:
            return await proceed(call)
        self.contents.append(await call.codec.content())
        if call.key in self.stored:
            result = call.codec.thaw(self.stored[call.key])
            self.codes.append(call.code)
            return result
        result = await proceed(call)
        self.codes.append(call.code)
        self.stored[call.key] = call.codec.freeze(result)
        return result


KEY = [(b"idempotency-key", b'"k-1"')]


def guest_of(response):
    async def guest(scope, receive, send):
        guest.bodies.append((await receive())["body"])
        await response(scope, receive, send)

    guest.bodies = []
    return guest


async def test_a_kept_answer_is_replayed_without_the_guest(ask):
    response = JSONResponse({"order": 1}, 201, {"location": "/orders/1", "date": "today"})
    response.set_cookie("session", "first-caller")
    guest, keep = guest_of(response), Keep()
    app = PipelineMiddleware(guest, Pipeline(keep))
    first = await ask(app, "POST", "/orders", KEY, [b'{"a"', b": 1}"], query=b"x=1")
    again = await ask(app, "POST", "/orders", KEY, [b'{"a": 1}'], query=b"x=1")
    assert guest.bodies == [b'{"a": 1}']
    assert keep.contents == [b'POST /orders?x=1\n{"a": 1}'] * 2
    assert first.status == again.status == 201
    assert first.body == again.body == b'{"order":1}'
    assert again.headers[b"location"] == b"/orders/1"
    assert again.headers[b"content-type"] == b"application/json"
    assert b"set-cookie" in first.headers
    assert b"set-cookie" not in again.headers
    assert b"date" not in again.headers
    assert first.headers[b"x-request-id"] != again.headers[b"x-request-id"]
    assert keep.codes == [Code.OK, Code.OK]


async def test_without_a_key_nothing_is_held(ask):
    keep = Keep()
    app = PipelineMiddleware(guest_of(PlainTextResponse("x")), Pipeline(keep))
    assert (await ask(app, "POST", chunks=[b"a"])).body == b"x"
    assert not keep.stored


async def test_a_failure_has_its_code_before_it_would_be_kept(ask):
    keep = Keep()
    app = PipelineMiddleware(guest_of(PlainTextResponse("x", 503)), Pipeline(keep))
    answer = await ask(app, "POST", headers=KEY)
    assert answer.status == 503
    assert keep.codes == [Code.UNAVAILABLE]


async def test_a_response_too_large_to_keep_fails_loudly(ask):
    keep = Keep()
    guest = guest_of(PlainTextResponse(b"x" * (KEPT_LIMIT + 1)))
    answer = await ask(PipelineMiddleware(guest, Pipeline(keep)), "POST", headers=KEY)
    assert answer.status == 500
    assert answer.problem["reason"] == "RESPONSE_NOT_KEPT"
    assert not keep.stored


async def test_an_event_stream_under_a_key_fails_before_its_first_event(ask):
    events = []

    async def guest(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        events.append(1)

    answer = await ask(PipelineMiddleware(guest, Pipeline(Keep())), "POST", headers=KEY)
    assert answer.problem["reason"] == "RESPONSE_NOT_KEPT"
    assert not events


async def test_a_streamed_answer_is_kept_whole(ask):
    async def guest(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for chunk in (b"a", b"b"):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    app = PipelineMiddleware(guest, Pipeline(Keep()))
    assert (await ask(app, "POST", headers=KEY)).body == b"ab"
    assert (await ask(app, "POST", headers=KEY)).body == b"ab"


async def test_a_body_too_large_to_fingerprint_is_413(ask):
    keep = Keep()
    app = PipelineMiddleware(guest_of(PlainTextResponse("x")), Pipeline(keep), body_limit=3)
    answer = await ask(app, "POST", headers=KEY, chunks=[b"ab", b"cd"])
    assert answer.status == 413
    assert not keep.stored


async def test_a_client_that_leaves_before_its_body_came_claims_nothing(ask):
    keep, errors = Keep(), []

    async def watch(call, proceed):
        try:
            return await proceed(call)
        except Exception as error:
            errors.append(error)
            raise

    app = PipelineMiddleware(guest_of(PlainTextResponse("x")), Pipeline(watch, keep))
    await ask(app, "POST", headers=KEY, chunks=[b"ab", None])
    assert errors[0].code is Code.CANCELLED
    assert not keep.stored


async def test_a_handler_may_freeze_its_starlette_response_itself(ask):
    frozen = []

    async def guest(scope, receive, send):
        from prodkit import current_call

        response = JSONResponse({"order": 1}, 201)
        codec = current_call().codec
        frozen.append(codec.thaw(codec.freeze(response)))
        await response(scope, receive, send)

    await ask(PipelineMiddleware(guest, Pipeline(Keep())), "POST", headers=KEY)
    assert (frozen[0].status, frozen[0].body) == (201, b'{"order":1}')
    assert (b"content-type", b"application/json") in frozen[0].headers


async def test_background_tasks_run_before_a_kept_answer_leaves(ask):
    ran = []

    async def task():
        ran.append(1)

    response = PlainTextResponse("x", background=BackgroundTask(task))
    await ask(PipelineMiddleware(guest_of(response), Pipeline(Keep())), "POST", headers=KEY)
    assert ran == [1]
