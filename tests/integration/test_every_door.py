"""Every policy on every door: what it does shows there, or the door refuses it at start."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx2
import pytest

from prodkit import Code, Pipeline
from prodkit.errors import ConfigurationError
from prodkit.policies.adaptive_throttle import AdaptiveThrottle
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.chaos import CHAOS_INJECTED, Chaos
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    KeyedCircuitBreaker,
    SharedCircuitBreaker,
    by_operation,
)
from prodkit.policies.deadline import Deadline
from prodkit.policies.fallback import Fallback
from prodkit.policies.hedge import Hedge
from prodkit.policies.idempotency import Idempotency
from prodkit.policies.load_shedder import LoadShedder
from prodkit.policies.rate_limiter import Rate, RateDelayed, RateLimiter
from prodkit.policies.retry import Retry
from prodkit.policies.timeout import Timeout
from prodkit.stores.memory import MemoryBreakerStore, MemoryIdempotencyStore
from prodkit.testing import EventRecorder
from prodkit.transports.http import PipelineTransport

sys.path.insert(0, str(Path(__file__).parent))
from doors import AWAY, DOORS, OK, Door, Function, Messages, Rpc, WebsocketIn, Work

pytestmark = pytest.mark.anyio

SOON = 0.03  # seconds that a policy waits in these tests
INBOUND = ("http in", "websocket in", "grpc in", "grpc in, stream", "local in", "messages")
CLIENTS = ("http out", "grpc out", "grpc out, stream", "local out")
STREAMS = ("grpc in, stream", "grpc out, stream")


async def slow(door: Door, reason: str) -> None:
    """What takes too long is ended, and its caller is told; whether it took effect is unknown."""
    door.work.act = door.work.hang
    answer = await asyncio.wait_for(door.ask(), 5)
    # a channel's wire has the same time, and may be the first to say so
    wire = {"DEADLINE_EXCEEDED"} if isinstance(door, Rpc) and not door.inbound else set()
    assert answer.outcome in {reason} | wire
    door.check(answer, Code.DEADLINE_EXCEEDED, refused=False)
    async with asyncio.timeout(5):  # what ran, if the time was enough to begin, was cancelled
        while door.work.cancelled < door.work.ran:
            await asyncio.sleep(0.001)


async def timeout(door: Door) -> None:
    await door.open(Pipeline(Timeout(0.1)))
    await slow(door, "TIMED_OUT")


async def deadline(door: Door) -> None:
    await door.open(Pipeline(Deadline(0.1)))
    await slow(door, "DEADLINE_EXCEEDED")


async def retry(door: Door) -> None:
    """A failure is repeated; its caller sees what came of that alone."""
    await door.open(Pipeline(Retry(on=Code.UNAVAILABLE, wait_initial=0.001, wait_max=0.001)))
    door.work.act = door.work.away_once
    answer = await door.ask()
    assert (answer.outcome, answer.value, door.work.ran) == (OK, "answer 2", 2)


async def hedge(door: Door) -> None:
    """A second attempt answers while the first hangs, which is cancelled then."""
    await door.open(Pipeline(Hedge(delay=SOON)))
    door.work.act = door.work.hang_once
    answer = await asyncio.wait_for(door.ask(), 5)
    assert (answer.outcome, answer.value) == (OK, "answer 2")
    assert door.work.ran == 2
    async with asyncio.timeout(5):
        while not door.work.cancelled:
            await asyncio.sleep(0.001)


async def breaks(door: Door, policy, reason: str) -> None:
    """Two failures, and what comes then is refused without running."""
    await door.open(Pipeline(policy))
    door.work.act = door.work.away
    for _ in range(2):
        answer = await door.ask()
        assert answer.outcome == AWAY
        door.check(answer, Code.UNAVAILABLE, refused=False)
    answer = await door.ask()
    assert answer.outcome == reason
    assert answer.retry_after is not None
    door.check(answer, Code.UNAVAILABLE, refused=True)
    assert door.work.ran == 2


async def breaker(door: Door) -> None:
    await breaks(door, CircuitBreaker("work", consecutive_failures=2), "CIRCUIT_OPEN")


async def keyed_breaker(door: Door) -> None:
    policy = KeyedCircuitBreaker("work", key=by_operation, consecutive_failures=2)
    await breaks(door, policy, "CIRCUIT_OPEN")


async def shared_breaker(door: Door) -> None:
    store = MemoryBreakerStore()
    await breaks(door, SharedCircuitBreaker("work", store, consecutive_failures=2), "CIRCUIT_OPEN")


async def throttle(door: Door) -> None:
    policy = AdaptiveThrottle("work", minimum_throughput=2, random=lambda: 0.0)
    await breaks(door, policy, "THROTTLED")


async def limiter(door: Door) -> None:
    """The second call of a minute is refused; a server's answers carry the RateLimit fields."""
    await door.open(Pipeline(RateLimiter(Rate(1, per=60), key=lambda call: "all")))
    first, second = await door.ask(), await door.ask()
    assert (first.outcome, second.outcome) == (OK, "RATE_LIMITED")
    assert 55 < second.retry_after <= 60
    door.check(second, Code.RESOURCE_EXHAUSTED, refused=True)
    assert door.work.ran == 1
    if door.inbound and not isinstance(door, Messages):
        assert first.told["ratelimit-policy"] == '"default";q=1;w=60'
        assert first.told["ratelimit"].startswith('"default";r=0;t=')


async def waiting_limiter(door: Door) -> None:
    """The second call waits for its turn."""
    recorder = EventRecorder()
    limiter = RateLimiter(Rate(1, per=0.1), key=lambda call: "all", max_wait=5.0)
    await door.open(Pipeline(recorder, limiter))
    answers = await asyncio.gather(door.ask(), door.ask())
    assert [answer.outcome for answer in answers] == [OK, OK]
    [delayed] = recorder.of(RateDelayed)
    assert 0 < delayed.delay <= 0.1


async def full(door: Door, policy, reason: str) -> None:
    """While one call runs, the next one is refused; then there is room again."""
    await door.open(Pipeline(policy))
    door.work.act = door.work.hold
    first = asyncio.create_task(door.ask())
    async with asyncio.timeout(5):
        while not door.work.ran:
            await asyncio.sleep(0.001)
    second = await door.ask()
    assert second.outcome == reason
    door.check(second, Code.UNAVAILABLE, refused=True)
    door.work.held.set()
    assert (await first).outcome == (await door.ask()).outcome == OK
    assert door.work.ran == 2


async def bulkhead(door: Door) -> None:
    await full(door, Bulkhead("work", limit=1), "BULKHEAD_FULL")


async def shedder(door: Door) -> None:
    await full(door, LoadShedder(floor=1, ceiling=1, initial=1), "OVERLOADED")


async def fallback(door: Door) -> None:
    """The caller gets the substitute, and no word of the failure."""
    substitute = Fallback(lambda call, error: door.substitute("substitute"), on=Code.UNAVAILABLE)
    await door.open(Pipeline(substitute))
    assert (await door.ask()).value == "answer 1"
    door.work.act = door.work.away
    answer = await door.ask()
    assert (answer.outcome, answer.value) == (OK, "substitute")
    assert door.work.ran == 2


async def idempotency(door: Door) -> None:
    """One key is one execution; the second caller gets the first one's answer.

    Websockets take no key: there is nothing to replay. Each of them is a session of its own.
    """
    store = MemoryIdempotencyStore()
    policy = Idempotency(store, secret=b"0123456789abcdef", scope=lambda call: "all")
    await door.open(Pipeline(policy))
    first, second, other = [await door.ask(key=key) for key in ("a", "a", "b")]
    if isinstance(door, WebsocketIn):
        assert [first.value, second.value, other.value] == ["answer 1", "answer 2", "answer 3"]
        return
    assert (first.outcome, first.value) == (second.outcome, second.value) == (OK, "answer 1")
    assert other.value == "answer 2"
    assert door.work.ran == 2


async def chaos_error(door: Door) -> None:
    """It fails, and did not run."""
    await door.open(Pipeline(Chaos(environment="test", error_rate=1.0)))
    answer = await door.ask()
    assert (answer.outcome, door.work.ran) == (CHAOS_INJECTED, 0)
    door.check(answer, Code.UNAVAILABLE, refused=False)


async def chaos_abort(door: Door) -> None:
    """It fails, and did run."""
    await door.open(Pipeline(Chaos(environment="test", abort_rate=1.0)))
    answer = await door.ask()
    assert (answer.outcome, door.work.ran) == (CHAOS_INJECTED, 1)
    door.check(answer, Code.UNAVAILABLE, refused=False)


async def chaos_latency(door: Door) -> None:
    """It takes its time, and then goes well."""
    chaos = Chaos(environment="test", latency=SOON, latency_rate=1.0)
    await door.open(Pipeline(chaos))
    began = asyncio.get_running_loop().time()
    assert (await door.ask()).outcome == OK
    assert asyncio.get_running_loop().time() - began > SOON / 2


POLICIES = {
    "Timeout": timeout,
    "Deadline": deadline,
    "Retry": retry,
    "Hedge": hedge,
    "CircuitBreaker": breaker,
    "KeyedCircuitBreaker": keyed_breaker,
    "SharedCircuitBreaker": shared_breaker,
    "AdaptiveThrottle": throttle,
    "RateLimiter": limiter,
    "RateLimiter, waiting": waiting_limiter,
    "Bulkhead": bulkhead,
    "LoadShedder": shedder,
    "Fallback": fallback,
    "Idempotency": idempotency,
    "Chaos, error": chaos_error,
    "Chaos, abort": chaos_abort,
    "Chaos, latency": chaos_latency,
}


def refusals() -> dict[tuple[str, str], str]:
    """Return which policies which doors refuse, and a part of why."""
    refused = {}
    for policy in ("Retry", "Hedge"):
        refused |= {(policy, door): "is for outbound calls only" for door in INBOUND}
        refused[policy, "grpc out, stream"] = "cannot repeat a stream"
    refused |= {("LoadShedder", door): "sheds what comes in" for door in CLIENTS}
    for policy, answer in (
        ("Fallback", "answer in place of"),
        ("Idempotency", "keep the answer of"),
    ):
        refused |= {(policy, door): f"cannot {answer} a stream" for door in STREAMS}
    for door in ("http in", "websocket in", "messages"):
        refused["Fallback", door] = "cannot answer here in place of the handler"
    for door in ("messages", "function", "http out", "grpc out", "local out"):
        refused["Idempotency", door] = "needs a door that can keep answers"
    for door in ("http in", "websocket in"):
        refused["KeyedCircuitBreaker", door] = "is keyed by operation, which nobody knows here"
        refused["Chaos, abort", door] = "cannot take back an answer that has left"
    return refused


REFUSED = refusals()


@pytest.fixture
async def door(request):
    opened = DOORS[request.param](Work())
    yield opened
    opened.work.held.set()
    await opened.close()


@pytest.mark.parametrize("door", DOORS, indirect=True)
@pytest.mark.parametrize("policy", POLICIES)
async def test_every_policy_on_every_door(door, policy, request):
    name = request.node.callspec.params["door"]
    why = REFUSED.get((policy, name))
    if why is None:
        await POLICIES[policy](door)
        return
    with pytest.raises(ConfigurationError, match=f"{policy.partition(',')[0]} .*{why}"):
        await POLICIES[policy](door)
    assert door.work.ran == 0


@pytest.mark.parametrize("policy", ["Retry", "Hedge"])
async def test_a_function_must_be_declared_safe_to_be_repeated(policy):
    member = Retry(on=Code.UNAVAILABLE) if policy == "Retry" else Hedge()
    with pytest.raises(ConfigurationError, match=f"{policy} would repeat an operation that is not"):
        Pipeline(member)(Function(Work()).ask)


@pytest.mark.parametrize("door", ["http out", "grpc out", "grpc out, stream"], indirect=True)
async def test_a_deadline_travels_with_what_is_sent(door, request):
    await door.open(Pipeline(Deadline(20.0)))
    assert (await door.ask()).outcome == OK
    if request.node.callspec.params["door"] == "http out":
        assert 15 < float(door.headers[0]["x-request-timeout"]) <= 20
    elif request.node.callspec.params["door"] == "grpc out":
        assert 15 < door.left <= 21  # the wire rounds up


async def test_a_response_that_a_substitute_replaces_is_given_back():
    class Body(httpx2.AsyncByteStream):
        closed = False

        async def __aiter__(self):
            yield b"never read"

        async def aclose(self):
            self.closed = True

    body = Body()
    inner = httpx2.MockTransport(lambda request: httpx2.Response(503, stream=body))
    fallback = Fallback(lambda call, error: httpx2.Response(200, text=""), on=Code.UNAVAILABLE)
    transport = PipelineTransport(Pipeline(fallback), inner)
    async with httpx2.AsyncClient(transport=transport, base_url="http://stock") as client:
        assert (await client.get("/")).status_code == 200
    assert body.closed
