"""The outbound HTTP door: what a request becomes for policies, and what they make of answers."""

from contextlib import contextmanager

import httpx2
import pytest

from prodkit import Call, Code, Pipeline, Principal, Trait
from prodkit.call import CURRENT, Kind
from prodkit.errors import (
    ConfigurationError,
    DeadlineExceededError,
    UnavailableError,
)
from prodkit.testing import ManualClock
from prodkit.transports.http import PipelineTransport

pytestmark = pytest.mark.anyio

URL = "http://orders.test/orders/7?x=1"


class Stream(httpx2.AsyncByteStream):
    """A response body that knows how often it was read and closed."""

    def __init__(self, *chunks: bytes, breaks: Exception | None = None):
        self.chunks, self.breaks = chunks, breaks
        self.read = self.closed = 0

    async def __aiter__(self):
        self.read += 1
        for chunk in self.chunks:
            yield chunk
        if self.breaks is not None:
            raise self.breaks

    async def aclose(self):
        self.closed += 1


class Server(httpx2.AsyncBaseTransport):
    """Answers from a list: responses, or exceptions to raise; keeps what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []
        self.bodies: list[bytes] = []
        self.closed = False

    async def handle_async_request(self, request):
        self.requests.append(request)
        self.bodies.append(b"".join([chunk async for chunk in request.stream]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aclose(self):
        self.closed = True


class Again:
    """Repeats until the code is OK, as often as it takes."""

    traits = Trait.REPEATS

    async def __call__(self, call, proceed):
        while True:
            call.code = Code.OK
            try:
                result = await proceed(call)
            except UnavailableError:
                continue
            if call.code is Code.OK:
                return result


class Watch:
    async def __call__(self, call, proceed):
        self.call, self.error = call, None
        try:
            return await proceed(call)
        except Exception as error:
            self.error = error
            raise


def client_of(server, *members, **options):
    transport = PipelineTransport(Pipeline(*members), server, **options)
    return httpx2.AsyncClient(transport=transport)


@contextmanager
def answering(**options):
    """Be answering a call."""
    token = CURRENT.set(Call("GET /inbound", Kind.SERVER, **options))
    try:
        yield
    finally:
        CURRENT.reset(token)


async def test_a_request_is_a_client_call():
    watch, server = Watch(), Server(httpx2.Response(200, text="ok"))
    async with client_of(server, watch) as client:
        response = await client.get(URL, headers={"x-a": "b"})
    assert response.text == "ok"
    call = watch.call
    assert (call.kind, call.transport, call.operation) == (Kind.CLIENT, "http", "GET orders.test")
    assert (call.safe, call.key, call.status, call.code) == (True, None, 200, Code.OK)
    assert call.metadata["x-a"] == "b"
    assert server.closed


async def test_the_operation_can_be_named():
    watch = Watch()
    async with client_of(Server(httpx2.Response(200)), watch) as client:
        await client.get(URL, extensions={"operation": "GET /orders/{id}"})
    assert watch.call.operation == "GET /orders/{id}"


@pytest.mark.parametrize(
    ("method", "safe"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("POST", False)],
)
async def test_the_method_says_what_may_be_repeated(method, safe):
    watch = Watch()
    async with client_of(Server(httpx2.Response(200)), watch) as client:
        await client.request(method, URL)
    assert watch.call.safe is safe


async def test_a_post_with_a_key_carries_it():
    watch, server = Watch(), Server(httpx2.Response(201))
    async with client_of(server, watch) as client:
        await client.post(URL, headers={"Idempotency-Key": '"k-1"'})
    assert watch.call.key == "k-1"
    assert server.requests[0].headers["idempotency-key"] == '"k-1"'


async def test_a_call_inherits_from_the_one_being_answered():
    clock, watch, server = ManualClock(), Watch(), Server(httpx2.Response(200))
    principal = Principal("u-1")
    inbound = {"deadline": clock.monotonic() + 1.5, "principal": principal, "request_id": "r-1"}
    with answering(**inbound):
        async with client_of(server, watch, clock=clock) as client:
            await client.get(URL, timeout=httpx2.Timeout(5, connect=0.5))
    request = server.requests[0]
    assert watch.call.principal is principal
    assert request.headers["x-request-id"] == "r-1"
    assert request.headers["x-request-timeout"] == "1.500"
    assert request.extensions["timeout"] == {
        "connect": 0.5,
        "read": 1.5,
        "write": 1.5,
        "pool": 1.5,
    }
    assert "authorization" not in request.headers


async def test_a_call_that_no_request_asked_for_has_an_id_of_its_own():
    watch, server = Watch(), Server(httpx2.Response(200), httpx2.Response(200))
    async with client_of(server, watch) as client:
        await client.get(URL)
        assert server.requests[0].headers["x-request-id"] == watch.call.request_id != ""
        await client.get(URL, headers={"x-request-id": "mine"})
    assert server.requests[1].headers["x-request-id"] == watch.call.request_id == "mine"


async def test_credentials_and_trace_context_are_added():
    async def token():
        return "t-1"

    def inject(headers):
        headers["traceparent"] = "00-a-b-01"

    server = Server(httpx2.Response(200))
    async with client_of(server, credentials=token, inject=inject) as client:
        await client.get(URL)
    assert server.requests[0].headers["authorization"] == "Bearer t-1"
    assert server.requests[0].headers["traceparent"] == "00-a-b-01"


async def test_no_credentials_send_none():
    server = Server(httpx2.Response(200))
    async with client_of(server, credentials=lambda: "") as client:
        await client.get(URL)
    assert "authorization" not in server.requests[0].headers


async def test_what_has_no_time_left_is_not_sent():
    clock, server = ManualClock(), Server()
    with answering(deadline=clock.monotonic()):
        async with client_of(server, clock=clock) as client:
            with pytest.raises(DeadlineExceededError):
                await client.get(URL)
    assert not server.requests


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (httpx2.ConnectError("refused"), UnavailableError),
        (httpx2.RemoteProtocolError("half"), UnavailableError),
        (httpx2.ReadTimeout("slow"), DeadlineExceededError),
        (httpx2.PoolTimeout("busy"), DeadlineExceededError),
        (httpx2.UnsupportedProtocol("what"), httpx2.UnsupportedProtocol),
    ],
)
async def test_what_never_became_a_response_has_a_code(raised, seen):
    watch = Watch()
    async with client_of(Server(raised), watch) as client:
        with pytest.raises(seen):
            await client.get(URL)
    assert isinstance(watch.error, seen)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2000 22:13:50 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": b"\xb2"}, None),
        ({"retry-after": "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT"}, None),
        ({"retry-after": "9" * 400}, 86400.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86400.0),
        ({"retry-after": "7", "x-prodkit-retry": "exhausted"}, -1.0),
    ],
)
async def test_an_answer_says_when_to_come_back(headers, expected):
    watch, server = Watch(), Server(httpx2.Response(503, headers=headers))
    async with client_of(server, watch, clock=ManualClock(wall=1_700_000_000)) as client:
        await client.get(URL)
    assert (watch.call.code, watch.call.status) == (Code.UNAVAILABLE, 503)
    assert watch.call.retry_after == expected


async def test_a_repeated_request_sends_its_body_again_and_frees_the_answer_before():
    first = Stream(b"busy")
    server = Server(
        httpx2.Response(503, stream=first),
        httpx2.ConnectError("refused"),
        httpx2.Response(200, text="ok"),
    )
    async with client_of(server, Again()) as client:
        response = await client.put(URL, content=b"body")
    assert response.text == "ok"
    assert server.bodies == [b"body"] * 3
    assert (first.read, first.closed) == (0, 1)


async def test_a_pipeline_that_repeats_refuses_a_body_that_is_read_once():
    async def chunks():
        yield b"a"

    server = Server(httpx2.Response(200))
    async with client_of(server, Again()) as client:
        with pytest.raises(ConfigurationError, match="twice"):
            await client.put(URL, content=chunks())
    assert not server.requests


async def test_without_repeats_a_body_may_stream():
    async def chunks():
        yield b"a"
        yield b"b"

    server = Server(httpx2.Response(200))
    async with client_of(server) as client:
        await client.put(URL, content=chunks())
    assert server.bodies == [b"ab"]


async def test_a_small_answer_is_read_inside_the_pipeline():
    watch = Watch()
    broken = Stream(b"par", breaks=httpx2.ReadError("cut"))
    server = Server(httpx2.Response(200, headers={"content-length": "7"}, stream=broken))
    async with client_of(server, watch) as client:
        with pytest.raises(UnavailableError):
            await client.get(URL)
    assert isinstance(watch.error, UnavailableError)
    assert broken.closed == 1


@pytest.mark.parametrize("headers", [{}, {"content-length": "9"}])
async def test_a_large_or_unannounced_answer_is_left_to_the_caller(headers):
    stream = Stream(b"a", b"b")
    server = Server(httpx2.Response(200, headers=headers, stream=stream))
    async with client_of(server, body_limit=8) as client, client.stream("GET", URL) as response:
        assert stream.read == 0
        assert await response.aread() == b"ab"
    assert stream.closed == 1


async def test_an_answer_that_a_policy_replaces_is_closed():
    stream = Stream(b"busy")

    async def fallback(call, proceed):
        await proceed(call)
        return httpx2.Response(200, text="from the cache")

    server = Server(httpx2.Response(503, stream=stream))
    async with client_of(server, fallback) as client:
        response = await client.get(URL)
    assert response.text == "from the cache"
    assert stream.closed == 1


async def test_an_answer_that_a_policy_drops_is_closed():
    stream = Stream(b"busy")

    async def strict(call, proceed):
        await proceed(call)
        raise UnavailableError("no good")

    server = Server(httpx2.Response(503, stream=stream))
    async with client_of(server, strict) as client:
        with pytest.raises(UnavailableError):
            await client.get(URL)
    assert stream.closed == 1
