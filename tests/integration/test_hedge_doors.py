"""Hedging over real wires: losers end at the server, and nothing stays open."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

import grpc
import httpx2
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prodkit import Pipeline
from prodkit.errors import (
    ConfigurationError,
    DeadlineExceededError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from prodkit.policies.deadline import Deadline
from prodkit.policies.hedge import Hedge, HedgeSent, HedgeWon, RetryBudget
from prodkit.testing import EventRecorder
from prodkit.transports.http import PipelineTransport
from prodkit.transports.http_server import HttpServer

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import Doors

pytestmark = pytest.mark.anyio


def hedge(**options) -> Hedge:
    options = {"delay": 0.02, "minimum_throughput": 10**6, **options}
    return Hedge(budget=RetryBudget(1.0, 1e6, capacity=1e6), **options)


def looking(*members):
    """Return the pipelines of a channel: `members` on the one method that may be repeated."""
    return lambda method: Pipeline(*(members if method.full_name.endswith("/Look") else ()))


def text(value: str) -> StringValue:
    return StringValue(value=value)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def new_tasks(before):
    """Return the tasks that did not run before, but for those by which servers wait for more."""
    servers = ("AioServer", "uvicorn", "RequestResponseCycle")
    found = asyncio.all_tasks() - before
    return {task for task in found if not any(name in repr(task) for name in servers)}


class Talk:
    """A handler that hangs on every first attempt, and counts how its attempts ended."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        self.ended: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    async def look(self, request, context):
        metadata = dict(context.invocation_metadata())
        self.seen.append(metadata)
        self.asked[request.value] += 1
        slow = self.asked[request.value] == 1 and request.value.startswith("slow")
        try:
            await asyncio.sleep(30 if slow else 0)
        except asyncio.CancelledError:
            self.ended["cancelled"] += 1
            raise
        if request.value.endswith("away"):
            raise UnavailableError("away")
        if request.value.endswith("gone"):
            raise NotFoundError("gone")
        await context.send_initial_metadata((("attempt", str(self.asked[request.value])),))
        context.set_trailing_metadata((("told", "by the winner"),))
        self.ended["answered"] += 1
        return text(f"saw {request.value}")

    async def all_ended(self, **ended):
        async with asyncio.timeout(5):
            while dict(self.ended) != ended:
                await asyncio.sleep(0.01)


@pytest.fixture(params=["grpc", "local"])
async def doors(request):
    pair = Doors(request.param)
    yield pair
    await pair.close()


@pytest.fixture
def talk(doors):
    talk = Talk()
    doors.talk.say = talk.look
    return talk


class TestRpc:
    async def test_the_loser_is_cancelled_at_the_server(self, doors, talk):
        recorder = EventRecorder()
        stub = await doors.open(outbound=looking(recorder, hedge()))
        call = stub.look(text("slow"))
        assert (await call).value == "saw slow"
        await talk.all_ended(cancelled=1, answered=1)
        assert [type(event) for event in recorder.events] == [HedgeSent, HedgeWon]
        assert dict(await call.initial_metadata())["attempt"] == "2"
        assert dict(await call.trailing_metadata())["told"] == "by the winner"
        assert await call.code() is grpc.StatusCode.OK

    async def test_attempts_have_metadata_of_their_own(self, doors, talk):
        spans = iter(range(9))
        stub = await doors.open(
            outbound=looking(Deadline(5), hedge()),
            inject=lambda metadata: metadata.update(span=f"s{next(spans)}"),
            credentials=lambda: "token",
        )
        await stub.look(text("slow"), metadata=(("own", "1"), ("raw-bin", b"\x00")))
        first, second = talk.seen
        assert (first["span"], second["span"]) == ("s0", "s1")
        for name in ("own", "raw-bin", "x-request-id", "authorization"):
            assert first[name] == second[name]

    async def test_a_failure_does_not_win_and_one_of_all_comes_back(self, doors, talk):
        stub = await doors.open(outbound=looking(Deadline(0.5), hedge()))
        with pytest.raises(DeadlineExceededError):
            await stub.look(text("slow, then away"))
        with pytest.raises(NotFoundError) as caught:
            await stub.look(text("slow, then gone"))
        assert caught.value.__notes__ == ["Hedge: this was attempt 2, one of 2"]

    async def test_a_cancelled_call_ends_all_attempts_at_the_server(self, doors, talk):
        stub = await doors.open(outbound=looking(hedge(max_hedges=2)))
        talk.asked.subtract({"slow": 5})

        async def always_slow(request, context):
            talk.asked[request.value] = 0
            return await talk.look(request, context)

        doors.talk.say = always_slow
        call = stub.look(text("slow"))
        await asyncio.sleep(0.2)
        assert len(talk.seen) == 3
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await talk.all_ended(cancelled=3)

    async def test_a_thousand_calls_leave_nothing(self, doors, talk):
        stub = await doors.open(outbound=looking(hedge()))
        before = asyncio.all_tasks()
        places = asyncio.Semaphore(50)

        async def one(number):
            async with places:
                kind = "slow" if number % 4 == 0 else "fast"
                assert (await stub.look(text(f"{kind} {number}"))).value == f"saw {kind} {number}"

        await asyncio.gather(*(one(number) for number in range(1000)))
        await until(lambda: not new_tasks(before))
        assert doors.channel._tasks == set()
        await until(lambda: talk.ended["cancelled"] >= 250)  # at the server, too
        assert talk.ended["answered"] >= 1000  # a loser may be done before it is told

    async def test_a_stream_is_refused_when_the_stub_is_made(self, doors):
        def pipelines(method):
            return Pipeline(*([hedge()] if method.streaming else []))

        with pytest.raises(ConfigurationError, match="Hedge cannot repeat a stream"):
            await doors.open(outbound=pipelines)


class App:
    """An ASGI app whose first answer to each path hangs; it notes who hung up."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.gone = 0
        self.hanging = 0

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        path = scope["path"]
        self.asked[path] += 1
        if "slow" in path and self.asked[path] == 1:
            await self.hang_up(receive)
            return
        status = 503 if "away" in path else 200
        body = b"x" * (20_000 if "large" in path else 5)
        headers = [(b"content-length", b"%d" % len(body))]
        if "busy" in path and self.asked[path] == 1:
            status, headers = 503, []  # unannounced: left open for a reader
            while self.asked[path] < 2:
                await asyncio.sleep(0.005)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def hang_up(self, receive):
        self.hanging += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone += 1
        self.hanging -= 1


@pytest.fixture
async def app():
    return App()


@pytest.fixture
async def client(app):
    server = HttpServer(app)
    await server.start()
    inner = httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=100))
    transport = PipelineTransport(Pipeline(Deadline(10), hedge()), inner, body_limit=1000)
    base_url = f"http://127.0.0.1:{server.port}"
    async with httpx2.AsyncClient(base_url=base_url, transport=transport) as client:
        client.pool = inner._pool
        yield client
    await server.stop(1)


def busy_connections(client):
    return [connection for connection in client.pool.connections if not connection.is_idle()]


class TestHttp:
    async def test_the_loser_is_hung_up_on(self, client, app):
        response = await client.get("/slow")
        assert (response.status_code, response.content) == (200, b"xxxxx")
        await until(lambda: app.gone == 1)
        assert busy_connections(client) == []

    async def test_a_large_answer_that_wins_can_be_read(self, client, app):
        async with client.stream("GET", "/slow/large") as response:
            await until(lambda: app.gone == 1)
            assert len(busy_connections(client)) == 1
            assert len(await response.aread()) == 20_000
        assert busy_connections(client) == []

    async def test_the_open_answer_of_a_failed_attempt_is_given_back(self, client, app):
        response = await client.get("/busy")
        assert response.status_code == 200
        assert app.asked["/busy"] == 2
        assert busy_connections(client) == []

    async def test_when_all_fail_one_answer_comes_back(self, client, app):
        app.asked["/slow/away"] = 1
        response = await client.get("/slow/away")
        assert (response.status_code, response.content) == (503, b"xxxxx")
        assert busy_connections(client) == []

    async def test_a_cancelled_call_hangs_up_on_all(self, client, app):
        task = asyncio.create_task(client.get("/slow"))
        await until(lambda: app.hanging == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: app.gone >= 1 and app.hanging == 0)
        assert busy_connections(client) == []

    async def test_a_thousand_calls_leave_nothing_open(self, client, app):
        before = asyncio.all_tasks()
        places = asyncio.Semaphore(20)
        kinds = ["fast", "slow", "fast/large", "slow/large", "busy"]

        async def one(number):
            async with places:
                response = await client.get(f"/{kinds[number % 5]}/{number}")
                assert response.status_code == 200
                assert len(response.content) == (20_000 if "large" in kinds[number % 5] else 5)

        await asyncio.gather(*(one(number) for number in range(1000)))
        await until(lambda: app.hanging == 0)
        assert app.gone >= 400
        assert busy_connections(client) == []
        assert len(client.pool.connections) <= 100
        await until(lambda: not new_tasks(before))

    async def test_a_post_without_a_key_is_sent_once(self, client, app):
        task = asyncio.create_task(client.post("/slow", content=b"order"))
        await until(lambda: app.hanging == 1)
        await asyncio.sleep(0.1)
        assert app.asked["/slow"] == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_a_refusal_of_all_attempts_refuses_the_call(self, app):
        async def refuse(call, proceed):
            raise RejectedError("no", call=call, policy="p", measured=1, threshold=1)

        calls = []

        async def spy(call, proceed):
            calls.append(call)
            return await proceed(call)

        transport = PipelineTransport(Pipeline(spy, hedge(), refuse))
        async with httpx2.AsyncClient(transport=transport) as client:
            with pytest.raises(RejectedError) as caught:
                await client.get("http://away.test/")
        assert caught.value.refuses(calls[0])
