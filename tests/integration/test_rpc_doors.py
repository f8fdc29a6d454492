"""One battery, two wires: whatever holds over gRPC holds over the local door."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from prodkit import Code, FieldViolation, Kind, Pipeline, RejectedError, ServiceError, Trait
from prodkit.call import CURRENT, Call, current_call
from prodkit.errors import (
    CircuitOpenError,
    ConfigurationError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from prodkit.policies.timeout import Timeout
from prodkit.transports.grpc import forward_caller, idempotency_key

sys.path.insert(0, str(Path(__file__).parent))
from rpc_service import SERVICE, Doors

pytestmark = pytest.mark.anyio
SAY = f"/{SERVICE}/Say"


@pytest.fixture(params=["grpc", "local"])
async def doors(request) -> AsyncIterator[Doors]:
    pair = Doors(request.param)
    yield pair
    await pair.close()


def text(value: str) -> StringValue:
    return StringValue(value=value)


class Spy:
    """Keeps the calls it sees, and how they ended."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.errors: list[BaseException | None] = []

    async def __call__(self, call, proceed):
        self.calls.append(call)
        try:
            result = await proceed(call)
        except BaseException as error:
            self.errors.append(error)
            raise
        self.errors.append(None)
        return result

    def only(self, method):
        return Pipeline(self)


async def test_one_request_one_response(doors):
    stub = await doors.open()
    assert (await stub.say(text("a"))).value == "said a"


async def test_a_response_stream(doors):
    stub = await doors.open()
    assert [m.value async for m in stub.count(text("3"))] == ["0", "1", "2"]


async def test_an_empty_response_stream(doors):
    stub = await doors.open()
    assert [m async for m in stub.count(text("0"))] == []


async def test_a_response_stream_read_one_by_one(doors):
    stub = await doors.open()
    call = stub.count(text("1"))
    assert (await call.read()).value == "0"
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_request_stream_from_either_kind_of_iterable(doors):
    stub = await doors.open()

    async def requests():
        yield text("a")
        yield text("b")

    assert (await stub.join(requests())).value == "a+b"
    assert (await stub.join([text("c"), text("d")])).value == "c+d"


async def test_a_request_stream_written_one_by_one(doors):
    stub = await doors.open()
    call = stub.join()
    await call.write(text("a"))
    await call.write(text("b"))
    await call.done_writing()
    assert (await call).value == "a+b"
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(text("c"))


async def test_streams_both_ways_take_turns(doors):
    stub = await doors.open()
    call = stub.chat()
    for word in ("one", "two"):
        await call.write(text(word))
        assert (await call.read()).value == word.upper()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_both_pipelines_see_the_call(doors):
    inbound, outbound = Spy(), Spy()
    stub = await doors.open(inbound.only, outbound.only)
    await stub.look(text("a"))
    server, client = inbound.calls[0], outbound.calls[0]
    assert (server.kind, client.kind) == (Kind.SERVER, Kind.CLIENT)
    assert server.operation == client.operation == f"/{SERVICE}/Look"
    assert server.transport == client.transport == "grpc"
    assert server.payload == client.payload == text("a")
    assert (server.safe, client.safe) == (True, True)
    assert not server.streaming
    assert not client.streaming


async def test_a_method_without_idempotency_level_is_undeclared(doors):
    outbound = Spy()
    stub = await doors.open(outbound=outbound.only)
    await stub.say(text("a"))
    assert outbound.calls[0].safe is None


async def test_safe_methods_are_declared_by_hand(doors):
    outbound = Spy()
    stub = await doors.open(outbound=outbound.only, safe_methods=[SAY])
    await stub.say(text("a"))
    assert outbound.calls[0].safe is True


async def test_the_first_message_of_a_stream_is_told_on_both_sides(doors):
    told: list[Kind] = []

    async def listen(call, proceed):
        call.on_first_message(lambda: told.append(call.kind))
        return await proceed(call)

    stub = await doors.open(lambda _: Pipeline(listen), lambda _: Pipeline(listen))
    await stub.say(text("a"))
    assert told == []
    assert len([m async for m in stub.count(text("3"))]) == 3
    assert sorted(told, key=str) == [Kind.CLIENT, Kind.SERVER]


async def test_handlers_run_in_a_context_of_their_own(doors):
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")
    seen = []

    async def say(request, context):
        seen.append((mark.get(), current_call().operation))
        return request

    stub = await doors.open()
    doors.talk.say = say
    mark.set("dirty")
    await stub.say(text("a"))
    assert seen == [("clean", SAY)]
    assert current_call() is None


async def test_messages_are_copies(doors):
    kept = []

    async def say(request, context):
        kept.append(request)
        return request

    stub = await doors.open()
    doors.talk.say = say
    sent = text("a")
    received = await stub.say(sent)
    kept[0].value = "changed"
    assert sent.value == received.value == "a"


async def test_metadata_travel_both_ways(doors):
    inbound = Spy()

    async def say(request, context):
        await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        current_call().annotate("RateLimit", '"default";r=1')
        return request

    stub = await doors.open(inbound.only)
    doors.talk.say = say
    call = stub.say(
        text("a"), metadata=(("X-Mine", "yes"), ("traceparent", "00-a-b-01"), ("raw-bin", b"\0"))
    )
    await call
    seen = inbound.calls[0].metadata
    assert (seen["x-mine"], seen["traceparent"]) == ("yes", "00-a-b-01")
    assert "raw-bin" not in seen
    assert (await call.initial_metadata())["x-first"] == "1"
    trailing = await call.trailing_metadata()
    assert (trailing["x-last"], trailing["ratelimit"]) == ("2", '"default";r=1')


async def test_the_request_id_and_the_key_arrive(doors):
    inbound = Spy()
    stub = await doors.open(inbound.only)
    await stub.say(text("a"), metadata=(("x-request-id", "r1"), ("idempotency-key", '"k1"')))
    with idempotency_key("k2"):
        await stub.say(text("a"))
    await stub.say(text("a"))
    assert [call.key for call in inbound.calls] == ["k1", "k2", None]
    assert inbound.calls[0].request_id == "r1"
    assert len(inbound.calls[1].request_id) == 32


async def test_both_ends_of_a_call_that_no_request_asked_for_know_one_id(doors):
    inbound, outbound = Spy(), Spy()
    stub = await doors.open(inbound.only, outbound.only)
    await stub.say(text("a"))
    await stub.say(text("a"))
    sent = [call.request_id for call in outbound.calls]
    assert [call.request_id for call in inbound.calls] == sent
    assert len(set(sent)) == 2


async def test_an_internal_hop_may_name_the_client(doors):
    inbound = Spy()
    stub = await doors.open(inbound.only)
    await stub.say(text("a"))
    await stub.say(text("a"), metadata=(("x-client-address", "203.0.113.9"),))
    own = "127.0.0.1" if doors.wire == "grpc" else "local"
    assert [c.metadata["client-address"] for c in inbound.calls] == [own, "203.0.113.9"]


async def test_an_edge_believes_nothing_internal(doors):
    inbound = Spy()
    stub = await doors.open(inbound.only, edge=True)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    forged = (
        ("x-client-address", "203.0.113.9"),
        ("client-address", "203.0.113.9"),
        ("baggage", "a=b"),
        ("x-prodkit-anything", "1"),
        ("traceparent", trace),
        ("authorization", "Bearer t"),
    )
    await stub.say(text("a"), metadata=forged)
    seen = inbound.calls[0].metadata
    assert seen["client-address"] == ("127.0.0.1" if doors.wire == "grpc" else "local")
    assert not {"baggage", "x-prodkit-anything", "x-client-address"} & seen.keys()
    assert seen["traceparent"] == trace[:-2] + "00"
    assert seen["authorization"] == "Bearer t"


async def test_outbound_calls_inherit_from_the_call_being_answered(doors):
    inbound, outbound = Spy(), Spy()
    stub = await doors.open(
        inbound.only,
        outbound.only,
        credentials=forward_caller(),
        inject=lambda metadata: metadata.update(traceparent="t"),
    )
    loop = asyncio.get_running_loop()
    parent = Call("parent", Kind.SERVER, deadline=loop.time() + 5, request_id="r9")
    parent.metadata = {"authorization": "Bearer the-token"}
    token = CURRENT.set(parent)
    try:
        await stub.say(text("a"), timeout=60)
    finally:
        CURRENT.reset(token)
    seen = inbound.calls[0]
    assert outbound.calls[0].deadline == parent.deadline
    assert 0 < seen.deadline - loop.time() <= 5.1
    assert seen.request_id == "r9"
    assert seen.metadata["authorization"] == "Bearer the-token"
    assert seen.metadata["traceparent"] == "t"


async def test_credentials_may_be_awaited_and_nothing_is_forwarded_unasked(doors):
    inbound = Spy()

    async def service_token() -> str:
        return "svc"

    stub = await doors.open(inbound.only, credentials=service_token)
    await stub.say(text("a"))
    plain = doors.connect()
    token = CURRENT.set(Call("parent", metadata={"authorization": "Bearer secret"}))
    try:
        await plain.say(text("a"))
    finally:
        CURRENT.reset(token)
    assert inbound.calls[0].metadata["authorization"] == "Bearer svc"
    assert "authorization" not in inbound.calls[1].metadata


# Errors


async def test_errors_arrive_whole(doors):
    async def say(request, context):
        raise InvalidArgumentError(
            "two things are wrong",
            reason="BAD_ORDER",
            violations=[FieldViolation("/items/0/quantity", "must be positive", "int32.gt")],
            retry_after=2.5,
            metadata={"order": "17"},
        )

    stub = await doors.open()
    doors.talk.say = say
    with pytest.raises(InvalidArgumentError) as caught:
        await stub.say(text("a"))
    error = caught.value
    assert (error.message, error.code, error.reason) == (
        "two things are wrong",
        Code.INVALID_ARGUMENT,
        "BAD_ORDER",
    )
    assert error.violations == (
        FieldViolation("/items/0/quantity", "must be positive", "int32.gt"),
    )
    assert error.retry_after == 2.5
    assert error.metadata["order"] == "17"


async def test_an_error_of_a_stream_after_messages(doors):
    async def count(request, context):
        yield text("0")
        raise NotFoundError("no more")

    inbound, outbound = Spy(), Spy()
    stub = await doors.open(inbound.only, outbound.only)
    doors.talk.count = count
    call = stub.count(text("1"))
    assert (await call.read()).value == "0"
    with pytest.raises(NotFoundError, match="no more"):
        await call.read()
    assert await call.code() is grpc.StatusCode.NOT_FOUND
    assert isinstance(inbound.errors[0], NotFoundError)
    assert isinstance(outbound.errors[0], NotFoundError)


async def test_an_error_of_a_stream_before_any_message(doors):
    async def refuse(call, proceed):
        raise RateLimitedError(
            "slow down", call=call, policy="limit", measured=11, threshold=10, retry_after=3
        )

    stub = await doors.open(lambda _: Pipeline(refuse))
    with pytest.raises(ServiceError) as caught:
        await stub.count(text("3")).read()
    assert (caught.value.code, caught.value.reason) == (Code.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert caught.value.retry_after == 3
    told = caught.value.metadata
    assert (told["policy"], told["measured"], told["threshold"]) == ("limit", "11", "10")


async def test_nothing_of_the_inside_is_told(doors, caplog):
    async def say(request, context):
        raise ValueError("password is hunter2")

    stub = await doors.open()
    doors.talk.say = say
    call = stub.say(text("a"))
    with pytest.raises(ServiceError, match=r"^internal error$") as caught:
        await call
    assert caught.value.code is Code.INTERNAL
    assert "hunter2" not in str(await call.trailing_metadata())
    assert "hunter2" in caplog.text  # nobody observes this pipeline, so the door itself must say it


async def test_who_observes_does_the_logging(doors, caplog):
    async def say(request, context):
        raise ValueError("hunter2")

    spy = Spy()
    spy.traits = Trait.OBSERVES
    stub = await doors.open(spy.only)
    doors.talk.say = say
    with pytest.raises(ServiceError):
        await stub.say(text("a"))
    assert "hunter2" not in caplog.text


async def test_a_refusal_of_an_inner_call_does_not_read_did_not_run(doors):
    async def say(request, context):
        inner = Call("payments")
        raise CircuitOpenError(
            "open", call=inner, policy="payments", measured=0.9, threshold=0.5, retry_after=4
        )

    stub = await doors.open()
    doors.talk.say = say
    call = stub.say(text("a"))
    with pytest.raises(UnavailableError) as caught:
        await call
    assert caught.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert "grpc-retry-pushback-ms" not in await call.trailing_metadata()


async def test_an_own_refusal_pushes_back(doors):
    async def refuse(call, proceed):
        raise CircuitOpenError(
            "open", call=call, policy="b", measured=1, threshold=1, retry_after=1.5
        )

    stub = await doors.open(lambda _: Pipeline(refuse))
    call = stub.say(text("a"))
    with pytest.raises(UnavailableError) as caught:
        await call
    assert not isinstance(caught.value, RejectedError)  # it was the server's call, not ours
    assert (await call.trailing_metadata())["grpc-retry-pushback-ms"] == "1500"
    assert caught.value.reason == "CIRCUIT_OPEN"


async def test_hundreds_of_violations_arrive_as_many_as_fit(doors):
    async def say(request, context):
        raise InvalidArgumentError(
            "ы" * 5000,
            violations=[FieldViolation(f"/items/{n}", "ы" * 300, "rule") for n in range(500)],
            metadata={f"key{n}": "v" * 100 for n in range(100)},
        )

    stub = await doors.open()
    doors.talk.say = say
    for _ in range(5):
        call = stub.say(text("a"))
        with pytest.raises(InvalidArgumentError) as caught:
            await call
        kept = len(caught.value.violations)
        assert kept >= 2
        assert int(caught.value.metadata["violations_omitted"]) == 500 - kept
        size = sum(len(k) + len(v) for k, v in await call.trailing_metadata())
        assert size * 4 / 3 < 8192


async def test_servicers_may_abort_in_grpcs_own_way(doors):
    inbound = Spy()

    async def say(request, context):
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now", (("x-why", "y"),))

    stub = await doors.open(inbound.only)
    doors.talk.say = say
    call = stub.say(text("a"))
    with pytest.raises(ServiceError, match="not now") as caught:
        await call
    assert caught.value.code is inbound.errors[0].code is Code.FAILED_PRECONDITION
    assert (await call.trailing_metadata())["x-why"] == "y"


async def test_a_status_set_by_hand_is_seen_by_the_pipeline(doors):
    inbound = Spy()

    async def say(request, context):
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("gone")
        return text("")

    stub = await doors.open(inbound.only)
    doors.talk.say = say
    with pytest.raises(NotFoundError, match="gone"):
        await stub.say(text("a"))
    assert inbound.calls[0].code is Code.NOT_FOUND


async def test_a_policy_may_mend_a_status_set_by_hand(doors):
    async def mend(call, proceed):
        await proceed(call)
        call.code = Code.OK
        return text("mended")

    async def say(request, context):
        context.set_code(grpc.StatusCode.UNAVAILABLE)
        assert context.code() is grpc.StatusCode.UNAVAILABLE
        return text("")

    stub = await doors.open(lambda method: Pipeline(mend))
    doors.talk.say = say
    assert (await stub.say(text("a"))).value == "mended"


async def test_two_idempotency_keys_are_refused():
    inbound, pair = Spy(), Doors("grpc")
    await pair.open(inbound.only)
    keys = (("idempotency-key", "a"), ("idempotency-key", "a"))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{pair.server.port}") as channel:
        say = channel.unary_unary(SAY, request_serializer=StringValue.SerializeToString)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await say(text("a"), metadata=keys)
    await pair.close()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert inbound.errors[0].reason == "IDEMPOTENCY_KEY_INVALID"


@pytest.mark.parametrize("side", ["inbound", "outbound"])
async def test_a_policy_by_itself_is_no_pipeline(doors, side):
    with pytest.raises(ConfigurationError, match="pipeline must be a Pipeline"):
        await doors.open(**{side: lambda method: Timeout(1.0)})
    with pytest.raises(ConfigurationError, match="pipelines must be a function of a method"):
        await doors.open(**{side: Pipeline()})


async def test_unknown_methods_are_one_operation(doors):
    unknown = Spy()
    stub = await doors.open(unknown=Pipeline(unknown))
    with pytest.raises(ServiceError) as caught:
        await stub.nothing(text("a"))
    assert caught.value.code is Code.UNIMPLEMENTED
    assert [call.operation for call in unknown.calls] == ["_OTHER"]


# Deadlines and cancellation


async def test_a_deadline_ends_both_sides(doors):
    inbound, outbound = Spy(), Spy()
    stub = await doors.open(inbound.only, outbound.only)
    doors.talk.say = doors.talk.hang
    with pytest.raises(DeadlineExceededError):
        await stub.say(text("a"), timeout=0.2)
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)
    assert isinstance(inbound.errors[0], asyncio.CancelledError)
    assert isinstance(outbound.errors[0], DeadlineExceededError)


async def test_a_deadline_that_passed_starts_nothing(doors):
    inbound = Spy()
    stub = await doors.open(inbound.only)
    with pytest.raises(DeadlineExceededError):
        await stub.say(text("a"), timeout=0)
    assert inbound.calls == []


async def test_a_policys_deadline_does_not_cut_a_stream_that_began(doors):
    async def hasten(call, proceed):
        call.deadline = asyncio.get_running_loop().time() + 0.1
        return await proceed(call)

    async def count(request, context):
        yield text("0")
        await asyncio.sleep(0.2)
        assert current_call().deadline is None
        yield text("1")

    stub = await doors.open(lambda _: Pipeline(hasten), lambda _: Pipeline(hasten))
    doors.talk.count = count
    assert [m.value async for m in stub.count(text("2"))] == ["0", "1"]


async def test_cancelling_the_caller_cancels_the_handler(doors):
    inbound, outbound = Spy(), Spy()
    stub = await doors.open(inbound.only, outbound.only)
    doors.talk.say = doors.talk.hang

    async def caller():
        await stub.say(text("a"))

    task = asyncio.create_task(caller())
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)
    assert isinstance(outbound.errors[0], asyncio.CancelledError)


async def test_cancelling_a_call_object(doors):
    stub = await doors.open()
    doors.talk.say = doors.talk.hang
    call = stub.say(text("a"))
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)


async def test_a_reader_that_goes_away_cancels_the_stream(doors):
    stub = await doors.open()
    doors.talk.count = doors.talk.hang_after_first
    async for _ in stub.count(text("1")):
        break
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)


async def test_a_cancelled_reader_cancels_the_stream(doors):
    stub = await doors.open()
    doors.talk.count = doors.talk.hang_after_first
    call = stub.count(text("1"))
    await call.read()
    reader = asyncio.create_task(call.read())
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)


async def test_requests_that_break_off_say_why(doors):
    stub = await doors.open()

    async def requests():
        yield text("a")
        raise LookupError("the file is gone")

    with pytest.raises(LookupError, match="the file is gone"):
        await stub.join(requests())
    with pytest.raises(LookupError, match="the file is gone"):
        await stub.chat(requests()).read()


async def test_a_slow_reader_slows_the_writer(doors):
    sent = []

    async def count(request, context):
        for number in range(2000):
            yield text(str(number) + "x" * 10_000)
            sent.append(number)

    stub = await doors.open()
    doors.talk.count = count
    call = stub.count(text("1"))
    await call.read()
    await asyncio.sleep(0.2)
    assert len(sent) < 1000
    call.cancel()


# What is refused at start, and the codec


class Keep:
    """Freezes the first answer of a key and replays it; the least that Idempotency does."""

    traits = Trait.REPLAYS

    def __init__(self) -> None:
        self.kept: dict[tuple[str | None, bytes], bytes] = {}
        self.replayed = 0

    async def __call__(self, call, proceed):
        place = call.key, await call.codec.content()
        if place in self.kept:
            self.replayed += 1
            return call.codec.thaw(self.kept[place])
        result = await proceed(call)
        self.kept[place] = call.codec.freeze(result)
        return result


async def test_an_answer_is_kept_and_replayed(doors):
    keep = Keep()
    only_say = lambda m: Pipeline(keep) if m.full_name == SAY else Pipeline()  # noqa: E731
    stub = await doors.open(only_say)
    with idempotency_key("k"):
        first = await stub.say(text("a"))
        second = await stub.say(text("a"))
    assert first == second == text("said a")
    assert keep.replayed == 1


async def test_keeping_the_answer_of_a_stream_is_refused_at_start(doors):
    for name in ("Count", "Join", "Chat"):
        keeps = lambda m, name=name: (  # noqa: E731
            Pipeline(Keep()) if m.full_name.endswith(name) else Pipeline()
        )
        with pytest.raises(ConfigurationError, match=f"{name}: Keep cannot keep"):
            await doors.open(keeps)
        doors.server = None


async def test_repeating_a_stream_is_refused_when_the_stub_is_made(doors):
    async def again(call, proceed):
        return await proceed(call)

    again.traits = Trait.REPEATS
    with pytest.raises(ConfigurationError, match="cannot repeat a stream"):
        await doors.open(outbound=lambda _: Pipeline(again))


async def test_a_repeated_call_is_sent_again(doors):
    seen = []

    async def say(request, context):
        seen.append(current_call().request_id)
        if len(seen) == 1:
            raise UnavailableError("not yet")
        return request

    async def twice(call, proceed):
        try:
            return await proceed(call)
        except UnavailableError:
            return await proceed(call)

    stub = await doors.open(outbound=lambda _: Pipeline(twice))
    doors.talk.say = say
    assert (await stub.say(text("a"))).value == "a"
    assert len(seen) == 2


# Drain


async def test_a_drain_finishes_what_runs_and_refuses_what_comes(doors):
    release = asyncio.Event()

    async def say(request, context):
        doors.talk.started.set()
        await release.wait()
        return request

    stub = await doors.open()
    doors.talk.say = say
    running = stub.say(text("a"))
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    stopping = asyncio.create_task(doors.server.stop(10))
    await asyncio.sleep(0.1)
    with pytest.raises(UnavailableError):
        await stub.say(text("b"), timeout=5)
    release.set()
    assert (await running).value == "a"
    await asyncio.wait_for(stopping, 5)
    await asyncio.wait_for(doors.server.wait(), 5)


async def test_what_outlives_the_grace_is_cancelled_awaited_and_told(doors):
    ended = []

    async def say(request, context):
        doors.talk.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    stub = await doors.open()
    doors.talk.say = say
    running = stub.say(text("a"))
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    await asyncio.wait_for(doors.server.stop(0.05), 5)
    assert ended == [True]
    with pytest.raises(UnavailableError) as caught:
        await running
    assert caught.value.reason == "SHUTTING_DOWN"


async def test_a_closed_channel_leaves_nothing_running(doors):
    stub = await doors.open()
    doors.talk.say = doors.talk.hang
    call = stub.say(text("a"))
    await asyncio.wait_for(doors.talk.started.wait(), 5)
    await doors.channel.close()
    assert call.cancelled()
    await asyncio.wait_for(doors.talk.cancelled.wait(), 5)


async def test_a_message_over_the_limit_is_refused(doors):
    stub = await doors.open()
    with pytest.raises(ServiceError) as caught:
        await stub.say(text("x" * (5 << 20)))
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
