import asyncio

import pytest

from prodkit import Call, Code, Pipeline, ServiceError, Trait
from prodkit.errors import (
    CircuitOpenError,
    ConfigurationError,
    NotFoundError,
    RateLimitedError,
    UnavailableError,
)
from prodkit.policies.fallback import Fallback, FallbackUsed
from prodkit.testing import EventRecorder
from prodkit.traits import traits_of

pytestmark = pytest.mark.anyio


def substitute(call, error):
    return "substitute"


def refused(call, error):
    return isinstance(error, CircuitOpenError)


def refusal(kind, call, policy="inner"):
    return kind("no", call=call, policy=policy, measured=2, threshold=1, retry_after=1.0)


class Bench:
    """A Fallback around a leaf that ends as it is told."""

    def __init__(self, fallback, end):
        self.recorder = EventRecorder()
        self.call = Call("GET stock")
        self.end = end
        self.handler = Pipeline(self.recorder, fallback).bind(self.leaf)

    async def leaf(self, call):
        if isinstance(self.end, BaseException):
            raise self.end
        if isinstance(self.end, Code):
            call.code, call.status, call.retry_after = self.end, 503, 3.0
        return "answer"

    async def run(self):
        return await self.handler(self.call)

    @property
    def used(self):
        return self.recorder.of(FallbackUsed)


class TestWhat:
    async def test_a_call_that_goes_well_is_left_alone(self):
        bench = Bench(Fallback(substitute, on=Exception), "answer")
        assert await bench.run() == "answer"
        assert bench.used == []

    @pytest.mark.parametrize(
        "on",
        [UnavailableError, Code.UNAVAILABLE, [KeyError, Code.UNAVAILABLE], ServiceError],
        ids=["type", "code", "several", "base"],
    )
    async def test_what_on_names_is_answered(self, on):
        bench = Bench(Fallback(substitute, on=on), UnavailableError("away", reason="AWAY"))
        assert await bench.run() == "substitute"
        assert bench.used == [FallbackUsed("fallback", Code.UNAVAILABLE, "AWAY")]

    @pytest.mark.parametrize("end", [NotFoundError("no such thing"), ValueError("oops")])
    async def test_what_it_does_not_name_is_not(self, end):
        bench = Bench(Fallback(substitute, on=[Code.UNAVAILABLE, KeyError]), end)
        with pytest.raises(type(end)) as raised:
            await bench.run()
        assert raised.value is end
        assert bench.used == []

    async def test_a_predicate_sees_call_and_error(self):
        seen = []

        def on(call, error):
            seen.append((call.operation, error))
            return isinstance(error, KeyError)

        missing, wrong = KeyError("x"), ValueError("y")
        assert await Bench(Fallback(substitute, on=on), missing).run() == "substitute"
        with pytest.raises(ValueError):
            await Bench(Fallback(substitute, on=on), wrong).run()
        assert seen == [("GET stock", missing), ("GET stock", wrong)]

    async def test_an_exception_of_python_says_its_name(self):
        bench = Bench(Fallback(substitute, on=KeyError), KeyError("password"))
        await bench.run()
        assert bench.used == [FallbackUsed("fallback", Code.UNKNOWN, "KeyError")]

    async def test_an_open_circuit_further_in_is_unavailable(self):
        bench = Bench(Fallback(substitute, on=Code.UNAVAILABLE), None)
        bench.end = refusal(CircuitOpenError, bench.call)
        assert await bench.run() == "substitute"
        assert bench.used[0].reason == "CIRCUIT_OPEN"

    async def test_a_limit_further_in_is_named_by_itself(self):
        bench = Bench(Fallback(substitute, on=Code.UNAVAILABLE), None)
        bench.end = refusal(RateLimitedError, bench.call)
        with pytest.raises(RateLimitedError):
            await bench.run()

    async def test_that_a_call_on_our_behalf_was_refused_is_unavailable(self):
        bench = Bench(Fallback(substitute, on=Code.UNAVAILABLE), None)
        bench.end = refusal(RateLimitedError, Call("another"))
        assert await bench.run() == "substitute"
        bench = Bench(Fallback(substitute, on=Code.RESOURCE_EXHAUSTED), bench.end)
        with pytest.raises(RateLimitedError):
            await bench.run()


class TestResults:
    """An HTTP client returns what failed; its code says so."""

    async def test_a_result_that_failed_is_answered_and_ends_well(self):
        told = []

        def answer(call, error):
            told.append((error.code, error.retry_after, str(error), call.status))
            return "substitute"

        bench = Bench(Fallback(answer, on=Code.UNAVAILABLE, name="stock"), Code.UNAVAILABLE)
        assert await bench.run() == "substitute"
        assert told == [
            (Code.UNAVAILABLE, 3.0, "the call ended as UNAVAILABLE (HTTP 503)", 503),
        ]
        call = bench.call
        assert (call.code, call.status, call.retry_after) == (Code.OK, 0, None)
        assert bench.used == [FallbackUsed("fallback stock", Code.UNAVAILABLE, "UNAVAILABLE")]

    async def test_a_result_of_another_code_is_returned(self):
        bench = Bench(Fallback(substitute, on=Code.INTERNAL), Code.UNAVAILABLE)
        assert await bench.run() == "answer"
        assert (bench.call.code, bench.call.status) == (Code.UNAVAILABLE, 503)

    async def test_a_predicate_may_refuse_what_went_well(self):
        errors = []

        def answer(call, error):
            errors.append(str(error))
            return "substitute"

        fallback = Fallback(answer, on=lambda call, error: call.operation == "GET stock")
        bench = Bench(fallback, "answer")
        assert await bench.run() == "substitute"
        assert bench.used[0].code is Code.UNKNOWN
        assert errors == ["the call ended as OK"]
        bench.call.operation = "GET price"
        assert await bench.run() == "answer"


class TestNever:
    async def test_cancellation_is_not_answered(self):
        started = asyncio.Event()

        async def leaf(call):
            started.set()
            await asyncio.Event().wait()

        fallback = Fallback(substitute, on=lambda call, error: True)
        task = asyncio.create_task(Pipeline(fallback).bind(leaf)(Call("op")))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_nor_is_a_cancellation_told_by_a_code(self):
        fallback = Fallback(substitute, on=lambda call, error: True)
        cancelled = ServiceError("gone", code=Code.CANCELLED)
        with pytest.raises(ServiceError) as raised:
            await Bench(fallback, cancelled).run()
        assert raised.value is cancelled
        assert await Bench(fallback, Code.CANCELLED).run() == "answer"

    async def test_nor_a_stream_that_began(self):
        bench = Bench(Fallback(substitute, on=UnavailableError), UnavailableError("away"))
        bench.call.first_message()
        with pytest.raises(UnavailableError):
            await bench.run()


class TestTheAnswer:
    async def test_it_may_be_awaited(self):
        async def answer(call, error):
            await asyncio.sleep(0)
            return f"{call.operation}: {error}"

        bench = Bench(Fallback(answer, on=UnavailableError), UnavailableError("away"))
        assert await bench.run() == "GET stock: away"

    async def test_its_failure_shows_the_original_too(self):
        original, second = UnavailableError("away"), KeyError("cold")

        def answer(call, error):
            raise second

        bench = Bench(Fallback(answer, on=UnavailableError), original)
        with pytest.raises(KeyError) as raised:
            await bench.run()
        assert raised.value is second
        assert second.__cause__ is original
        assert bench.used == []

    async def test_after_a_failed_result_too(self):
        async def answer(call, error):
            raise KeyError("cold")

        bench = Bench(Fallback(answer, on=Code.UNAVAILABLE), Code.UNAVAILABLE)
        with pytest.raises(KeyError) as raised:
            await bench.run()
        assert "HTTP 503" in str(raised.value.__cause__)
        assert bench.call.code is Code.UNAVAILABLE

    async def test_it_may_raise_the_original_after_all(self):
        original = UnavailableError("away")

        def answer(call, error):
            raise error

        with pytest.raises(UnavailableError) as raised:
            await Bench(Fallback(answer, on=UnavailableError), original).run()
        assert raised.value is original
        assert original.__cause__ is None


class TestOptions:
    def test_on_must_name_a_failure(self):
        with pytest.raises(ConfigurationError, match="on must be exception types"):
            Fallback(substitute, on=())

    @pytest.mark.parametrize("answer", ["substitute", None, [], list])
    def test_a_value_is_no_answer(self, answer):
        with pytest.raises(ConfigurationError, match="answer must be a function"):
            Fallback(answer, on=Exception)

    async def test_both_can_be_changed_while_it_runs(self):
        fallback = Fallback(substitute, on=KeyError)
        bench = Bench(fallback, UnavailableError("away"))
        with pytest.raises(UnavailableError):
            await bench.run()
        fallback.reconfigure(on=Code.UNAVAILABLE)
        assert await bench.run() == "substitute"
        fallback.reconfigure(answer=lambda call, error: "other")
        assert await bench.run() == "other"
        fallback.reconfigure()
        assert await bench.run() == "other"

    async def test_all_or_nothing_is_changed(self):
        fallback = Fallback(substitute, on=UnavailableError)
        bench = Bench(fallback, UnavailableError("away"))
        with pytest.raises(ConfigurationError):
            fallback.reconfigure(answer=lambda call, error: "other", on=())
        with pytest.raises(ConfigurationError):
            fallback.reconfigure(answer="other", on=KeyError)
        assert await bench.run() == "substitute"

    def test_it_says_what_it_is(self):
        assert traits_of(Fallback(substitute, on=KeyError)) is Trait.SUBSTITUTES
        on = [Code.UNAVAILABLE, KeyError, Code.INTERNAL]
        assert repr(Fallback(substitute, on=on)) == "Fallback(on INTERNAL, UNAVAILABLE, KeyError)"
        named = Fallback(substitute, on=refused, name="stock")
        assert repr(named) == "Fallback('stock', on refused)"


def test_it_tells_doors_which_exceptions_it_waits_for():
    assert Fallback(lambda call, error: None, on=(KeyError, Code.UNAVAILABLE)).exceptions == (
        KeyError,
    )
    assert Fallback(lambda call, error: None, on=Code.UNAVAILABLE).exceptions == ()
