"""The outbound HTTP door: what a request becomes for policies, and what they make of answers."""

import asyncio
from contextlib import contextmanager

import httpx2
import pytest

from prodkit import Call, Code, Pipeline, Principal, Trait
from prodkit.call import CURRENT, Kind
from prodkit.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InvalidArgumentError,
    UnavailableError,
)
from prodkit.policies.fallback import Fallback
from prodkit.policies.hedge import Hedge, RetryBudget
from prodkit.policies.retry import RetriesExhausted, Retry, RetryScheduled
from prodkit.testing import EventRecorder, ManualClock
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


async def test_two_keys_are_refused():
    server = Server(httpx2.Response(201))
    async with client_of(server, Watch()) as client:
        with pytest.raises(InvalidArgumentError, match="must be one quoted string"):
            await client.post(URL, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert server.requests == []


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
    ("kind", "instead"),
    [
        (httpx2.ConnectError, "Code.UNAVAILABLE"),
        (httpx2.RemoteProtocolError, "Code.UNAVAILABLE"),
        (httpx2.ReadTimeout, "Code.DEADLINE_EXCEEDED"),
        (httpx2.TransportError, "Code.UNAVAILABLE and Code.DEADLINE_EXCEEDED"),
        (httpx2.HTTPError, "Code.UNAVAILABLE and Code.DEADLINE_EXCEEDED"),
        (httpx2.HTTPStatusError, "the code of its status, Code.UNAVAILABLE for 502 and 503"),
        (httpx2.TooManyRedirects, "the client raises it, outside of its transport"),
        (httpx2.StreamConsumed, "the client raises it, outside of its transport"),
    ],
)
@pytest.mark.parametrize(
    "policy",
    [lambda kind: Retry(on=(KeyError, kind)), lambda kind: Fallback(lambda c, e: None, on=kind)],
)
def test_what_waits_for_an_exception_that_never_comes_is_refused_at_start(policy, kind, instead):
    with pytest.raises(ConfigurationError) as refused:
        PipelineTransport(Pipeline(policy(kind)))
    assert f"answers to {kind.__name__}, which never comes out of this door" in str(refused.value)
    assert instead in str(refused.value)


@pytest.mark.parametrize(
    "on",
    [
        *(httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, TimeoutError, OSError, Exception),
        *(UnavailableError, Code.UNAVAILABLE, lambda call, error: True),
    ],
)
def test_what_does_come_may_be_repeated(on):
    PipelineTransport(Pipeline(Retry(on=on)))


@pytest.mark.parametrize("use", [lambda client: client.get(URL), lambda client: client.__enter__()])
def test_a_client_that_is_not_async_is_told_so(use):
    with pytest.raises(ConfigurationError, match=r"needs an httpx2\.AsyncClient"):
        use(httpx2.Client(transport=PipelineTransport(Pipeline())))


def test_a_client_that_was_never_used_may_be_closed():
    httpx2.Client(transport=PipelineTransport(Pipeline())).close()


async def test_what_failed_is_told_inside_and_not_to_strangers():
    async with client_of(Server(httpx2.ConnectError("no route to 10.1.2.3"))) as client:
        with pytest.raises(UnavailableError) as failed:
            await client.get("http://orders.internal:8443/orders/7?token=x")
    error = failed.value
    assert error.message == "the service that was called did not answer"
    assert error.__notes__ == ["GET orders.internal:8443: ConnectError"]
    async with client_of(Server(httpx2.ReadTimeout("slow"))) as client:
        with pytest.raises(DeadlineExceededError) as late:
            await client.get(URL, extensions={"operation": "GET /orders/{id}"})
    assert late.value.message == "the service that was called did not answer in time"
    assert late.value.__notes__ == ["GET orders.test (GET /orders/{id}): ReadTimeout"]


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


class Paced(httpx2.AsyncBaseTransport):
    """Answers each request when the test says so; knows what was asked, and which was cancelled."""

    def __init__(self):
        self.asked: list[tuple[httpx2.Request, asyncio.Future[httpx2.Response]]] = []

    async def handle_async_request(self, request):
        answer = asyncio.get_running_loop().create_future()
        self.asked.append((request, answer))
        return await answer

    def answer(self, number, status, stream=None, **headers):
        self.asked[number][1].set_result(httpx2.Response(status, stream=stream, headers=headers))


class TestSideBySide:
    """Attempts of one request that run at the same time, by a Hedge."""

    @staticmethod
    async def start(clock, server, attempts=2, outside=(), **options):
        hedge = Hedge(delay=1.0, max_hedges=3, budget=RetryBudget(1, 9), clock=clock)
        client = client_of(server, *outside, hedge, clock=clock, **options)
        request = client.build_request("GET", URL)
        task = asyncio.create_task(client.send(request, stream=True))
        await clock.advance(attempts - 1)
        assert len(server.asked) == attempts
        return client, task

    async def test_each_has_headers_and_time_of_its_own(self):
        clock, server = ManualClock(), Paced()
        spans = iter("ab")
        with answering(deadline=clock.monotonic() + 5.0):
            client, task = await self.start(
                clock, server, inject=lambda headers: headers.update(span=next(spans))
            )
        first, second = (request for request, _ in server.asked)
        assert (first.headers["span"], second.headers["span"]) == ("a", "b")
        assert first.headers["x-request-timeout"] == "5.000"
        assert second.headers["x-request-timeout"] == "4.000"
        assert second.extensions["timeout"]["read"] == 4.0
        assert first.headers["x-request-id"] == second.headers["x-request-id"]
        assert first.stream is second.stream
        server.answer(1, 200)
        await (await task).aclose()
        await client.aclose()

    async def test_the_answer_that_wins_is_left_open_and_its_status_is_the_calls(self):
        clock, server, watch, body = ManualClock(), Paced(), Watch(), Stream(b"large")
        client, task = await self.start(clock, server, outside=[watch])
        server.answer(1, 404, body)
        response = await task
        assert (body.closed, watch.call.status, watch.call.code) == (0, 404, Code.NOT_FOUND)
        assert watch.call.metadata is server.asked[1][0].headers
        assert await response.aread() == b"large"
        assert body.closed == 1
        assert server.asked[0][1].cancelled()
        await client.aclose()

    @pytest.mark.parametrize("loser", [0, 1])
    async def test_the_answer_of_a_loser_is_closed_and_no_other(self, loser):
        clock, server = ManualClock(), Paced()
        bad, good = Stream(b"busy"), Stream(b"good")
        client, task = await self.start(clock, server)
        server.answer(loser, 503, bad)
        await clock.settle()
        assert not task.done()
        server.answer(1 - loser, 200, good)
        response = await task
        assert (response.status_code, bad.closed, good.closed) == (200, 1, 0)
        await response.aclose()
        await client.aclose()

    @pytest.mark.parametrize("loser", [0, 1])
    async def test_an_answer_that_comes_in_spite_of_cancellation_is_closed(self, loser):
        clock, late = ManualClock(), Stream(b"late")

        class Deaf(Paced):
            async def handle_async_request(self, request):
                try:
                    return await super().handle_async_request(request)
                except asyncio.CancelledError:
                    return httpx2.Response(200, stream=late)

        server, good = Deaf(), Stream(b"good")
        client, task = await self.start(clock, server)
        server.answer(1 - loser, 200, good)
        response = await task
        assert (late.closed, good.closed) == (1, 0)
        assert await response.aread() == b"good"
        await response.aclose()
        await client.aclose()

    async def test_a_loser_that_is_being_read_is_closed(self):
        clock, server, stuck = ManualClock(), Paced(), asyncio.Event()

        class Stuck(Stream):
            async def __aiter__(self):
                await stuck.wait()
                yield b"never"

        body = Stuck()
        client, task = await self.start(clock, server)
        server.answer(0, 200, body, **{"content-length": "5"})
        await clock.settle()
        server.answer(1, 200)
        response = await task
        assert body.closed == 1
        await response.aclose()
        await client.aclose()

    async def test_when_the_call_is_cancelled_all_are_closed(self):
        clock, server, busy = ManualClock(), Paced(), Stream(b"busy")
        client, task = await self.start(clock, server)
        server.answer(0, 503, busy)
        await clock.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert busy.closed == 1
        assert server.asked[1][1].cancelled()
        await client.aclose()

    async def test_one_that_cannot_be_closed_spares_no_other(self):
        clock, server = ManualClock(), Paced()

        class Broken(Stream):
            async def aclose(self):
                await super().aclose()
                raise RuntimeError("broken")

        bodies = Broken(), Broken()
        client, task = await self.start(clock, server, attempts=3)
        server.answer(0, 503, bodies[0])
        server.answer(1, 503, bodies[1])
        await clock.settle()
        server.answer(2, 200)
        with pytest.raises(RuntimeError, match="broken"):
            await task
        assert [body.closed for body in bodies] == [1, 1]
        await client.aclose()

    async def test_a_retry_outside_frees_the_answer_before(self):
        clock, server, busy = ManualClock(), Paced(), Stream(b"busy")
        retry = Retry(on=Code.UNAVAILABLE, clock=clock)
        client, task = await self.start(clock, server, attempts=1, outside=[retry])
        server.answer(0, 503, busy)
        await clock.advance(0.5)
        assert len(server.asked) == 2
        assert busy.closed == 1
        server.answer(1, 200)
        response = await task
        assert response.status_code == 200
        await response.aclose()
        await client.aclose()


class TestRetries:
    """What a callee asks for, and what an outage tells, by the real Retry."""

    @staticmethod
    async def ask(clock, *answers, deadline=None, **options):
        server = Server(*answers)
        retry = Retry(on=Code.UNAVAILABLE, clock=clock, random=lambda: 1.0, **options)
        recorder = EventRecorder()
        with answering(deadline=deadline):
            client = client_of(server, recorder, retry, clock=clock)
            task = asyncio.create_task(client.get(URL))
        await clock.advance(30.0)
        response = await task
        await client.aclose()
        return response.status_code, server, recorder

    async def test_a_retry_after_is_waited_for(self):
        clock = ManualClock()
        busy = httpx2.Response(503, headers={"retry-after": "3"})
        status, _, recorder = await self.ask(clock, busy, httpx2.Response(200))
        assert status == 200
        assert [event.wait for event in recorder.of(RetryScheduled)] == [3.0]

    async def test_one_beyond_the_deadline_is_not(self):
        clock = ManualClock()
        busy = httpx2.Response(503, headers={"retry-after": "3"})
        status, server, recorder = await self.ask(clock, busy, deadline=clock.monotonic() + 2.9)
        assert (status, len(server.requests)) == (503, 1)
        assert recorder.of(RetriesExhausted)[0].why == "the deadline comes first"

    async def test_what_was_retried_in_vain_further_down_is_not_repeated(self):
        marked = httpx2.Response(503, headers={"x-prodkit-retry": "exhausted"})
        status, server, recorder = await self.ask(ManualClock(), marked)
        assert (status, len(server.requests)) == (503, 1)
        assert recorder.of(RetriesExhausted)[0].why == "the callee asked not to repeat"

    async def test_what_is_left_of_the_deadline_goes_along_each_time(self):
        clock = ManualClock()
        answers = [httpx2.Response(503), httpx2.Response(503), httpx2.Response(200)]
        start = clock.monotonic()
        _, server, recorder = await self.ask(clock, *answers, deadline=start + 5.0)
        assert len(recorder.of(RetryScheduled)) == 2
        assert server.requests[-1].headers["x-request-timeout"] == "4.800"
