"""Retries over real wires: what callees ask for; only the hop next to a failure repeats."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import grpc
import httpx2
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Code, Pipeline
from prodkit.call import current_call
from prodkit.errors import UnavailableError
from prodkit.policies.deadline import Deadline
from prodkit.policies.retry import RETRY_MARK, RetriesExhausted, Retry, RetryScheduled
from prodkit.testing import EventRecorder
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http import PipelineTransport
from prodkit.transports.http_server import HttpServer

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import Doors

pytestmark = pytest.mark.anyio


def retry(**options) -> Retry:
    return Retry(on=Code.UNAVAILABLE, wait_initial=0.001, wait_max=0.5, **options)


def looking(*members):
    """Return the pipelines of a channel: `members` on the one method that may be repeated."""
    return lambda method: Pipeline(*(members if method.full_name.endswith("/Look") else ()))


def text(value: str) -> StringValue:
    return StringValue(value=value)


@pytest.fixture(params=["grpc", "local"])
async def open_doors(request):
    opened = []

    def new() -> Doors:
        opened.append(Doors(request.param))
        return opened[-1]

    yield new
    for doors in reversed(opened):
        await doors.close()


class Failing:
    """An RPC handler that fails as it is told, and keeps when it was asked and with what time."""

    def __init__(self, *pushbacks: str, **options) -> None:
        self.pushbacks = list(pushbacks)
        self.options = options
        self.times: list[float] = []
        self.deadlines: list[float | None] = []

    async def __call__(self, request, context):
        self.times.append(time.monotonic())
        self.deadlines.append(context.time_remaining())
        if self.pushbacks:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushbacks.pop(0)),))
            await context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        if self.options:
            raise UnavailableError("away", **self.options)
        return text("answer")


class TestRpc:
    async def start(self, open_doors, handler, *members):
        doors, self.recorder = open_doors(), EventRecorder()
        doors.talk.say = handler
        return await doors.open(outbound=looking(self.recorder, *members))

    async def test_a_push_back_is_waited_for(self, open_doors):
        handler = Failing("150")
        stub = await self.start(open_doors, handler, retry())
        assert (await stub.look(text("a"))).value == "answer"
        assert [event.wait for event in self.recorder.of(RetryScheduled)] == [0.15]
        assert handler.times[1] - handler.times[0] >= 0.15

    @pytest.mark.parametrize("pushback", ["-1", "soon"])
    async def test_a_negative_or_unreadable_one_means_do_not(self, open_doors, pushback):
        handler = Failing(pushback)
        stub = await self.start(open_doors, handler, retry())
        with pytest.raises(UnavailableError, match="busy"):
            await stub.look(text("a"))
        assert len(handler.times) == 1
        assert self.recorder.of(RetriesExhausted)[0].why == "the callee asked not to repeat"

    async def test_one_beyond_the_deadline_is_not_waited_for(self, open_doors):
        handler = Failing("400")
        stub = await self.start(open_doors, handler, Deadline(0.3), retry())
        begun = time.monotonic()
        with pytest.raises(UnavailableError, match="busy"):
            await stub.look(text("a"))
        assert time.monotonic() - begun < 0.3
        assert self.recorder.of(RetriesExhausted)[0].why == "the deadline comes first"

    async def test_what_is_left_of_the_deadline_goes_along_each_time(self, open_doors):
        handler = Failing("200")
        stub = await self.start(open_doors, handler, Deadline(5.0), retry())
        await stub.look(text("a"))
        first, second = handler.deadlines
        assert 4.0 < second < first - 0.15 < 5.0  # gRPC rounds up

    @pytest.mark.parametrize("own_error", [False, True])
    async def test_16_only_the_hop_next_to_the_failure_repeats(self, open_doors, own_error):
        leaf = Failing(retry_after=0.0)
        below = await self.start(open_doors, leaf, retry())
        asked = [0, 0]

        def calling(stub, tier):
            async def handler(request, context):
                asked[tier] += 1
                try:
                    return await stub.look(request)
                except UnavailableError as error:
                    if own_error:
                        raise UnavailableError("the tier below is away") from error
                    raise

            return handler

        middle = await self.start(open_doors, calling(below, 0), retry())
        top = await self.start(open_doors, calling(middle, 1), retry())
        with pytest.raises(UnavailableError) as caught:
            await top.look(text("a"))
        assert (len(leaf.times), asked) == (3, [1, 1])
        assert caught.value.metadata[RETRY_MARK] == "exhausted"

    @pytest.mark.parametrize(("edge", "told"), [(False, "exhausted"), (True, None)])
    async def test_the_mark_is_told_to_services_and_not_to_strangers(self, open_doors, edge, told):
        below = await self.start(open_doors, Failing(retry_after=0.0), retry())
        doors, seen = open_doors(), []

        async def handler(request, context):
            seen.append(current_call().metadata.get("x-prodkit-retry"))
            return await below.look(request)

        doors.talk.say = handler
        stub = await doors.open(edge=edge)
        with pytest.raises(UnavailableError) as caught:
            await stub.look(text("a"), metadata=(("x-prodkit-retry", "exhausted"),))
        assert caught.value.metadata.get(RETRY_MARK) == told
        assert seen == [told]  # nor is a stranger's believed


class Tier:
    """A service over HTTP that asks the one below, if there is one, and fails otherwise."""

    def __init__(self, below: str | None = None) -> None:
        self.asked = 0
        self.timeouts: list[float] = []
        self.transport = PipelineTransport(Pipeline(retry()))
        self.client = httpx2.AsyncClient(transport=self.transport)
        self.below = below
        self.app = Starlette(routes=[Route("/", self.answer)])

    async def answer(self, request):
        self.asked += 1
        self.timeouts.append(current_call().deadline - time.monotonic())
        if self.below is None:
            return PlainTextResponse("down", 503)
        response = await self.client.get(self.below)
        if response.status_code == 503:
            raise UnavailableError("the tier below is away")
        return PlainTextResponse("answer")


@pytest.fixture
async def serve():
    started = []

    async def start(tier, **options):
        app = PipelineMiddleware(tier.app, Pipeline(Deadline(3.0)), **options)
        server = HttpServer(app)
        await server.start()
        started.append((server, tier))
        return f"http://127.0.0.1:{server.port}/"

    yield start
    for server, tier in reversed(started):
        await tier.client.aclose()
        await server.stop(1)


class TestHttp:
    @pytest.mark.parametrize("below", [None, "http://127.0.0.1:1/"])
    async def test_16_only_the_hop_next_to_the_failure_repeats(self, serve, below):
        """Whether that is a service which answers 503, or one that does not answer."""
        lowest = Tier(below)
        middle = Tier(await serve(lowest, edge=False))
        highest = Tier(await serve(middle, edge=False))
        url = await serve(highest, edge=False)
        recorder = EventRecorder()
        pipeline = Pipeline(recorder, retry())
        async with httpx2.AsyncClient(transport=PipelineTransport(pipeline)) as client:
            response = await client.get(url)
        assert response.status_code == 503
        assert [tier.asked for tier in (highest, middle)] == [1, 1]
        assert lowest.asked == (3 if below is None else 1)
        assert response.headers["x-prodkit-retry"] == "exhausted"
        assert recorder.of(RetriesExhausted)[0].why == "the callee asked not to repeat"

    async def test_the_mark_is_told_to_services_and_not_to_strangers(self, serve):
        for edge, told in ((False, "exhausted"), (True, None)):
            url = await serve(Tier("http://127.0.0.1:1/"), edge=edge)
            async with httpx2.AsyncClient() as client:
                response = await client.get(url)
            assert response.status_code == 503
            assert response.headers.get("x-prodkit-retry") == told

    async def test_an_edge_door_does_not_believe_a_strangers_mark(self, serve):
        seen = {}

        class Marked(Tier):
            async def answer(self, request):
                seen[request.headers["tier"]] = current_call().metadata.get("x-prodkit-retry")
                return PlainTextResponse("answer")

        for name, edge in (("edge", True), ("inner", False)):
            url = await serve(Marked(), edge=edge)
            async with httpx2.AsyncClient() as client:
                await client.get(url, headers={"x-prodkit-retry": "exhausted", "tier": name})
        assert seen == {"edge": None, "inner": "exhausted"}

    async def test_nothing_starts_after_the_deadline_which_goes_along(self, serve):
        lowest = Tier()
        middle = Tier(await serve(lowest, edge=False))
        url = await serve(middle, edge=False)
        async with httpx2.AsyncClient() as client:
            await client.get(url, headers={"x-request-timeout": "0.9"})
        assert len(lowest.timeouts) == 3
        assert 0.9 >= middle.timeouts[0] > lowest.timeouts[-1] > 0  # told in milliseconds
        assert lowest.timeouts == sorted(lowest.timeouts, reverse=True)
