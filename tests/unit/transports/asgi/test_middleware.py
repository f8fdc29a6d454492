"""The inbound HTTP door: ids, errors, streams, and what a request costs."""

import asyncio
import logging
import sys
from asyncio import CancelledError

import pytest

from prodkit import Call, Code, Pipeline, Trait, current_call
from prodkit.errors import (
    ConfigurationError,
    DeadlineExceededError,
    NotFoundError,
    RateLimitedError,
)
from prodkit.policies.timeout import Timeout
from prodkit.transports.asgi import BufferedResponse, PipelineMiddleware

pytestmark = pytest.mark.anyio


async def ok(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-guest", b"1")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Recorder:
    """A policy that keeps the call and how it ended."""

    traits = Trait.OBSERVES

    async def __call__(self, call, proceed):
        self.call, self.error, self.result = call, None, None
        try:
            self.result = await proceed(call)
        except BaseException as error:
            self.error = error
            raise
        return self.result


def door(guest, *members, **options):
    return PipelineMiddleware(guest, Pipeline(*members), **options)


async def test_the_guests_answer_passes_with_a_request_id(ask):
    answer = await ask(door(ok))
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers[b"x-guest"] == b"1"
    assert len(answer.headers[b"x-request-id"]) == 32


async def test_a_sound_request_id_is_kept(ask):
    recorder = Recorder()
    answer = await ask(door(ok, recorder), headers=[(b"x-request-id", b"abc-123")])
    assert answer.headers[b"x-request-id"] == b"abc-123"
    assert recorder.call.request_id == "abc-123"


@pytest.mark.parametrize("bad", [b"a b", b"a\r\nset-cookie: x", b"\xe2\x80\xa8", b"x" * 129, b""])
async def test_an_unsound_request_id_is_replaced(ask, bad):
    answer = await ask(door(ok), headers=[(b"x-request-id", bad)])
    assert answer.headers[b"x-request-id"] != bad
    assert len(answer.headers[b"x-request-id"]) == 32


async def test_the_call_describes_the_request(ask):
    seen = []

    async def guest(scope, receive, send):
        seen.append(current_call())
        await ok(scope, receive, send)

    recorder = Recorder()
    headers = [
        (b"x-request-timeout", b"1.5"),
        (b"idempotency-key", b'"k-1"'),
        (b"user-agent", b"test"),
    ]
    await ask(door(guest, recorder), "POST", "/orders", headers, [b"{}"])
    call = recorder.call
    assert seen == [call]
    assert current_call() is None
    assert (call.transport, call.operation) == ("http", "POST /orders")
    assert (call.key, call.safe, call.edge) == ("k-1", False, True)
    assert call.deadline is not None
    assert call.metadata["user-agent"] == "test"
    assert (call.status, call.code) == (200, Code.OK)


async def test_a_safe_method_takes_no_key(ask):
    recorder = Recorder()
    await ask(door(ok, recorder), "GET", headers=[(b"idempotency-key", b'"k"')])
    assert recorder.call.key is None
    assert recorder.call.safe is True


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ((b"x-request-timeout", b"-1"), "INVALID_TIMEOUT"),
        ((b"x-request-timeout", b"inf"), "INVALID_TIMEOUT"),
        ((b"x-request-timeout", b"1e9"), "INVALID_TIMEOUT"),
        ((b"idempotency-key", b'"broken'), "IDEMPOTENCY_KEY_INVALID"),
        ((b"idempotency-key", b"caf\xe9"), "IDEMPOTENCY_KEY_INVALID"),
    ],
)
async def test_headers_that_make_no_sense_are_refused(ask, header, reason):
    answer = await ask(door(ok), "POST", headers=[header])
    assert answer.status == 400
    assert answer.problem["reason"] == reason


async def test_two_idempotency_keys_are_refused(ask):
    keys = [(b"idempotency-key", b"a"), (b"x-other", b"b"), (b"idempotency-key", b"a")]
    recorder = Recorder()
    answer = await ask(door(ok, recorder), "POST", headers=keys)
    assert (answer.status, answer.problem["reason"]) == (400, "IDEMPOTENCY_KEY_INVALID")
    assert recorder.call.key is None
    assert (await ask(door(ok), "GET", headers=keys)).status == 200
    assert (await ask(door(ok), "POST", headers=keys[1:])).status == 200


@pytest.mark.parametrize("member", [Timeout(1.0), Timeout])
def test_a_policy_by_itself_is_no_pipeline(member):
    with pytest.raises(ConfigurationError, match="PipelineMiddleware: pipeline must be a Pipeline"):
        PipelineMiddleware(ok, member)


async def test_the_status_becomes_the_code(ask):
    async def teapot(scope, receive, send):
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    recorder = Recorder()
    await ask(door(teapot, recorder))
    assert (recorder.call.status, recorder.call.code) == (503, Code.UNAVAILABLE)


async def test_a_refusal_is_a_problem_with_its_fields(ask):
    async def limiter(call: Call, proceed):
        call.annotate("RateLimit", '"default";r=0;t=3')
        raise RateLimitedError(
            "slow down", call=call, policy="limiter", measured=6, threshold=5, retry_after=2.5
        )

    answer = await ask(door(ok, limiter))
    assert answer.status == 429
    assert answer.headers[b"retry-after"] == b"3"
    assert answer.headers[b"ratelimit"] == b'"default";r=0;t=3'
    assert answer.problem["policy"] == "limiter"
    assert answer.problem["request_id"].encode() == answer.headers[b"x-request-id"]


async def test_annotations_reach_a_good_answer_too(ask):
    async def annotate(call: Call, proceed):
        call.annotate("RateLimit", '"default";r=4;t=1')
        return await proceed(call)

    answer = await ask(door(ok, annotate))
    assert answer.headers[b"ratelimit"] == b'"default";r=4;t=1'
    assert answer.body == b"hello"


async def test_an_error_of_the_guest_is_a_problem_and_stays_inside(ask):
    async def guest(scope, receive, send):
        raise NotFoundError("no such order")

    recorder = Recorder()
    answer = await ask(door(guest, recorder))
    assert answer.status == 404
    assert answer.problem["detail"] == "no such order"
    assert isinstance(recorder.error, NotFoundError)


async def test_an_unknown_exception_is_logged_where_nothing_observes(ask, caplog):
    async def guest(scope, receive, send):
        raise RuntimeError("secret")

    with caplog.at_level(logging.ERROR, "prodkit.http"):
        answer = await ask(door(guest))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert [record.name for record in caplog.records] == ["prodkit.http"]
    caplog.clear()
    await ask(door(guest, Recorder()))
    assert not caplog.records


async def test_the_application_names_the_status_of_a_reason(ask):
    async def guest(scope, receive, send):
        raise NotFoundError("it was here", reason="MOVED_OUT")

    recorder = Recorder()
    answer = await ask(door(guest, recorder, statuses={"MOVED_OUT": 410}))
    assert answer.status == recorder.call.status == 410


async def test_a_guest_that_answers_500_and_raises_is_answered_for(ask):
    async def guest(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"plain text"})
        raise NotFoundError("nothing here")

    recorder = Recorder()
    answer = await ask(door(guest, recorder))
    assert answer.status == 404
    assert answer.problem["detail"] == "nothing here"


async def test_a_guest_that_answers_500_on_purpose_is_passed_on(ask):
    async def guest(scope, receive, send):
        await send({"type": "http.response.start", "status": 500, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": b"custom"})

    recorder = Recorder()
    answer = await ask(door(guest, recorder))
    assert (answer.status, answer.body, answer.headers[b"x-a"]) == (500, b"custom", b"b")
    assert recorder.call.code is Code.INTERNAL


async def test_a_guest_without_an_answer_is_a_500(ask):
    async def guest(scope, receive, send):
        return

    answer = await ask(door(guest))
    assert answer.status == 500


async def test_a_middleware_may_answer_by_itself(ask):
    async def cached(call: Call, proceed):
        return BufferedResponse(203, [(b"content-type", b"text/plain")], b"cached")

    answer = await ask(door(ok, cached))
    assert (answer.status, answer.body) == (203, b"cached")
    head = await ask(door(ok, cached), "HEAD")
    assert (head.status, head.body) == (203, b"")


async def test_a_stream_is_announced_once_and_broken_off_after_its_first_message(ask):
    firsts = []

    async def watch(call: Call, proceed):
        call.on_first_message(lambda: firsts.append(call.streaming))
        await proceed(call)

    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body", "body": b"2", "more_body": True})
        raise DeadlineExceededError("too late")

    answer = await ask(door(stream, watch))
    assert firsts == [True]
    assert answer.body == b"12"
    assert not answer.complete


async def test_one_message_is_no_stream(ask):
    recorder = Recorder()
    await ask(door(ok, recorder))
    assert recorder.call.streaming is False


async def test_cancellation_answers_503_and_goes_on(new_wire, scope_of):
    entered = asyncio.Event()

    async def guest(scope, receive, send):
        entered.set()
        await asyncio.Event().wait()

    recorder, wire = Recorder(), new_wire()
    app = door(guest, recorder)
    task = asyncio.create_task(app(scope_of(), wire.receive, wire.send))
    await entered.wait()
    task.cancel()
    with pytest.raises(CancelledError):
        await task
    assert isinstance(recorder.error, CancelledError)
    assert wire.answer.status == 503
    assert wire.answer.problem["reason"] == "SHUTTING_DOWN"
    assert wire.answer.headers[b"retry-after"] == b"1"


async def test_a_client_that_left_is_no_failure(scope_of):
    async def guest(scope, receive, send):
        await ok(scope, receive, send)

    async def broken_pipe(message):
        raise OSError("gone")

    recorder = Recorder()
    await door(guest, recorder)(scope_of(), None, broken_pipe)
    assert recorder.error.code is Code.CANCELLED


async def test_other_scopes_go_to_the_guest():
    seen = []

    async def guest(scope, receive, send):
        seen.append(scope["type"])

    await door(guest)({"type": "lifespan"}, None, None)
    assert seen == ["lifespan"]


async def test_outbound_policies_are_refused_at_start():
    class Repeats:
        traits = Trait.REPEATS

        async def __call__(self, call, proceed):
            return await proceed(call)

    with pytest.raises(ConfigurationError, match="outbound"):
        door(ok, Repeats())


@pytest.mark.parametrize(
    "options", [{"body_limit": -1}, {"body_timeout": 0}, {"trusted_proxies": -1}]
)
async def test_options_that_cannot_be_meant_name_themselves(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        door(ok, **options)


async def test_no_request_leaves_a_cycle_behind(ask):
    recorder = Recorder()
    await ask(door(ok, recorder))
    assert recorder.call.payload is None
    assert recorder.call.codec is None


async def python_calls(app, scope):
    """Count the Python functions that `app` enters for one request; exact on every machine."""

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        return None

    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event == "call"

    await app(dict(scope), receive, send)
    before, scope = sys.getprofile(), dict(scope)
    sys.setprofile(profile)
    try:
        await app(scope, receive, send)
    finally:
        sys.setprofile(before)
    return count


async def test_the_door_adds_few_python_calls(scope_of):
    scope = scope_of("GET", "/orders/1", [(b"user-agent", b"x"), (b"accept", b"*/*")])
    added = await python_calls(door(ok), scope) - await python_calls(ok, scope)
    assert added == 12
