"""One policy, four doors: the same object, whichever door a call comes through."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from itertools import permutations
from pathlib import Path

import grpc
import httpx2
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Pipeline
from prodkit.errors import CircuitOpenError, RateLimitedError, RejectedError, UnavailableError
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.event import Event
from prodkit.policies.circuit_breaker import CircuitBreaker, State
from prodkit.policies.rate_limiter import Rate, RateLimiter
from prodkit.testing import ManualClock
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.broker import Message
from prodkit.transports.embedded import EmbeddedBroker
from prodkit.transports.grpc import GrpcServer
from prodkit.transports.rpc.status import DETAILS, PUSHBACK

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import SERVICE, Talk

pytestmark = pytest.mark.anyio

#: Seconds that the breaker stays open on its own clock, and that refused messages are put back for.
BREAK = 0.02
OK, AWAY = "OK", "AWAY"


class Work:
    """What stands behind every door: it does what the test says, and counts how often it ran."""

    def __init__(self) -> None:
        self.ran = 0
        self.act: Callable[[], Awaitable[object]] = self.nothing

    async def __call__(self) -> None:
        self.ran += 1
        await self.act()

    async def nothing(self) -> None:
        """Go well."""

    async def away(self) -> None:
        """Fail as a dependency does that is away."""
        raise UnavailableError("stock is away", reason=AWAY)


class Watch:
    """The outermost middleware: how each call ended, and which attempt it was."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.refused: list[bool] = []

    async def __call__(self, call, proceed):
        try:
            result = await proceed(call)
        except Exception as error:
            self.seen.append((getattr(error, "reason", ""), call.attempt))
            self.refused.append(isinstance(error, RejectedError) and error.refuses(call))
            raise
        self.seen.append((OK, call.attempt))
        return result


class Http:
    """An ASGI app."""

    def __init__(self, work: Work, pipeline: Pipeline) -> None:
        async def stock(request):
            await work()
            return PlainTextResponse("7")

        app = PipelineMiddleware(Starlette(routes=[Route("/stock", stock)]), pipeline)
        transport = httpx2.ASGITransport(app=app)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://shop")

    async def open(self) -> None:
        """There is nothing to open."""

    async def ask(self) -> str:
        self.answer = await self.client.get("/stock")
        return OK if self.answer.status_code == 200 else self.answer.json()["reason"]

    async def check(self, error: type[RejectedError], policy: str) -> None:
        problem = self.answer.json()
        assert self.answer.status_code == (429 if error is RateLimitedError else 503)
        assert self.answer.headers["content-type"] == "application/problem+json"
        assert int(self.answer.headers["retry-after"]) >= problem["retry_after"] > 0
        assert problem["policy"] == policy
        assert problem["measured"] >= problem["threshold"]

    async def check_escaped(self) -> None:
        assert self.answer.status_code == 503
        assert self.answer.headers["retry-after"]
        assert "policy" not in self.answer.json()

    async def close(self) -> None:
        await self.client.aclose()


class Grpc:
    """A gRPC server, asked by a client that knows nothing of prodkit."""

    def __init__(self, work: Work, pipeline: Pipeline) -> None:
        async def say(request, context):
            await work()
            return StringValue(value="7")

        talk = Talk()
        talk.say = say
        self.server = GrpcServer(talk.register, pipelines=lambda method: pipeline)

    async def open(self) -> None:
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.say = self.channel.unary_unary(
            f"/{SERVICE}/Say",
            request_serializer=StringValue.SerializeToString,
            response_deserializer=StringValue.FromString,
        )

    async def ask(self) -> str:
        try:
            await self.say(StringValue(value="stock"))
        except grpc.aio.AioRpcError as error:
            self.code, self.trailers = error.code(), dict(error.trailing_metadata() or ())
            return self.detail(ErrorInfo()).reason
        return OK

    def detail(self, kind):
        """Return the detail of one kind, empty if it is not there."""
        for detail in Status.FromString(self.trailers[DETAILS]).details:
            if detail.Is(kind.DESCRIPTOR):
                detail.Unpack(kind)
        return kind

    async def check(self, error: type[RejectedError], policy: str) -> None:
        limited = error is RateLimitedError
        status = grpc.StatusCode.RESOURCE_EXHAUSTED if limited else grpc.StatusCode.UNAVAILABLE
        assert self.code is status
        assert int(self.trailers[PUSHBACK]) > 0
        assert self.detail(RetryInfo()).retry_delay.ToNanoseconds() > 0
        assert self.detail(ErrorInfo()).metadata["policy"] == policy

    async def check_escaped(self) -> None:
        assert self.code is grpc.StatusCode.UNAVAILABLE
        assert PUSHBACK not in self.trailers
        assert "policy" not in self.detail(ErrorInfo()).metadata

    async def close(self) -> None:
        await self.channel.close()
        await self.server.stop(0)


class Messages:
    """A consumer of one queue."""

    def __init__(self, work: Work, pipeline: Pipeline) -> None:
        async def handle(event):
            await work()

        self.watch = Watch()
        self.broker = EmbeddedBroker(":memory:", poll=0.005)
        self.consumer = Consumer(
            self.broker,
            "stock",
            {"stock.asked": handle},
            pipeline=Pipeline(self.watch, *pipeline.members),
            retry_delay=BREAK,
        )

    async def open(self) -> None:
        await self.broker.start()
        await self.consumer.start()

    async def ask(self) -> str:
        before = len(self.watch.seen)
        event = Event("stock.asked", "laptop", source="/test")
        await self.broker.publish([Message(event.id, event.type, event.to_json())])
        return (await self.outcome(before))[0]

    async def outcome(self, number: int) -> tuple[str, int]:
        """Return how the delivery of this number ended."""
        async with asyncio.timeout(10):
            while len(self.watch.seen) <= number:
                await asyncio.sleep(0.001)
        return self.watch.seen[number]

    async def check(self, error: type[RejectedError], policy: str) -> None:
        """It is still there, and whenever it comes again, it is its first attempt."""
        if error is CircuitOpenError:  # a limiter puts back for longer than a test should last
            await self.outcome(5)
        refused = [outcome for outcome in self.watch.seen if outcome[0] != OK]
        assert set(refused) == {(error.reason, 1)}
        assert (await self.broker.depths())["stock"][0] == 1
        assert await self.broker.dead_letters("stock") == []

    async def check_escaped(self) -> None:
        """It was an attempt that failed: the next one is the second."""
        assert [(await self.outcome(number))[1] for number in (0, 1)] == [1, 2]

    async def close(self) -> None:
        await self.consumer.stop(1)
        await self.broker.stop()


class Function:
    """A plain async function."""

    def __init__(self, work: Work, pipeline: Pipeline) -> None:
        self.call = pipeline(work.__call__)

    async def open(self) -> None:
        """There is nothing to open."""

    async def ask(self) -> str:
        try:
            await self.call()
        except Exception as error:
            self.error = error
            return error.reason
        return OK

    async def check(self, error: type[RejectedError], policy: str) -> None:
        assert type(self.error) is error
        assert self.error.policy == policy
        assert self.error.retry_after > 0
        assert self.error.measured >= self.error.threshold

    async def check_escaped(self) -> None:
        assert isinstance(self.error, RejectedError)

    async def close(self) -> None:
        """There is nothing to close."""


DOORS = {"http": Http, "grpc": Grpc, "messages": Messages, "function": Function}


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock) -> CircuitBreaker:
    return CircuitBreaker("stock", consecutive_failures=3, break_duration=BREAK, clock=clock)


@pytest.fixture
async def doors(work):
    """Open doors by name, each with the same members."""
    opened = []

    async def open_doors(names, *members):
        for name in names:
            opened.append(DOORS[name](work, Pipeline(*members)))
            await opened[-1].open()
        return opened

    yield open_doors
    for door in opened:
        await door.close()


@pytest.mark.parametrize(("tripped", "asked"), [*permutations(DOORS, 2)])
async def test_a_breaker_tripped_on_one_door_answers_on_the_others(
    doors, work, breaker, clock, tripped, asked
):
    failing, other = await doors([tripped, asked], breaker)
    work.act = work.away
    outcomes = [await failing.ask() for _ in range(3)]
    assert set(outcomes) <= {AWAY, "CIRCUIT_OPEN"}  # a failed message may come again in between
    assert breaker.state is State.OPEN
    ran = work.ran

    assert await other.ask() == "CIRCUIT_OPEN"
    await other.check(CircuitOpenError, "circuit_breaker")
    assert work.ran == ran == 3

    work.act = work.nothing
    await clock.advance(BREAK)
    assert await _until_ok(other) == OK
    assert breaker.state is State.CLOSED


async def _until_ok(door) -> str:
    """Ask once; at the message door what was refused comes by itself, as its first attempt."""
    if not isinstance(door, Messages):
        return await door.ask()
    number = 0
    while (outcome := await door.outcome(number)) != (OK, 1):
        assert outcome == ("CIRCUIT_OPEN", 1)
        number += 1
    return OK


async def test_one_limiter_counts_the_calls_of_all_doors(doors, work, clock):
    limiter = RateLimiter(Rate(4, per=60), key=lambda call: "everybody", clock=clock)
    opened = await doors(DOORS, limiter)
    assert [await door.ask() for door in opened] == [OK] * 4
    assert work.ran == 4
    for door in opened:
        assert await door.ask() == "RATE_LIMITED"
        await door.check(RateLimitedError, "rate_limiter default")
    assert work.ran == 4

    await clock.advance(15)  # a place becomes free, for whoever comes first
    http, _, _, function = opened
    assert [await function.ask(), await http.ask()] == [OK, "RATE_LIMITED"]


@pytest.mark.parametrize("name", DOORS)
async def test_a_refusal_that_escapes_a_handler_is_no_refusal_of_its_call(
    doors, work, breaker, name
):
    work.act = Pipeline(breaker)(work.away)
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await work.act()
    assert breaker.state is State.OPEN
    watch, outer = Watch(), CircuitBreaker("outer", consecutive_failures=1)
    (door,) = await doors([name], watch, outer)

    assert await door.ask() in ("DEPENDENCY_UNAVAILABLE", "CIRCUIT_OPEN")
    assert work.ran == 1
    assert watch.refused[0] is False
    assert outer.state is State.OPEN  # to those around, it is a failure as any other
    await door.check_escaped()
