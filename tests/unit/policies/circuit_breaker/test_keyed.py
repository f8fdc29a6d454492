import asyncio

import pytest

from prodkit import Call, Doorway, Kind, Pipeline
from prodkit.errors import CircuitOpenError, ConfigurationError, UnavailableError
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    CircuitOpened,
    KeyedCircuitBreaker,
    Options,
    State,
    by_host,
    by_operation,
)
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import Trait, traits_of

pytestmark = pytest.mark.anyio


class Bench:
    """A keyed breaker over operations, of which those in `down` fail."""

    def __init__(self, **options):
        self.clock = ManualClock()
        self.down = set()
        self.gate = asyncio.Event()
        self.gate.set()
        self.recorder = EventRecorder()
        self.breaker = KeyedCircuitBreaker(
            "shops",
            **{"key": by_operation, "consecutive_failures": 1, "clock": self.clock, **options},
        )
        self.handler = Pipeline(self.recorder, self.breaker).bind(self.dependency)

    async def dependency(self, call):
        await self.gate.wait()
        if call.operation in self.down:
            raise UnavailableError("away")
        return "answer"

    async def call(self, *operations):
        for operation in operations:
            assert await self.handler(Call(operation)) == "answer"

    async def fail(self, *operations):
        for operation in operations:
            self.down.add(operation)
            with pytest.raises(UnavailableError):
                await self.handler(Call(operation))
            self.down.remove(operation)


async def test_a_bad_key_does_not_stop_the_others():
    bench = Bench()
    await bench.fail("a")
    await bench.call("b")
    with pytest.raises(CircuitOpenError, match=r"'shops\[a\]' is open"):
        await bench.call("a")
    assert bench.breaker.states() == {"a": State.OPEN, "b": State.CLOSED}
    assert [event.name for event in bench.recorder.of(CircuitOpened)] == ["shops[a]"]


async def test_all_keys_have_the_options_and_the_predicate():
    bench = Bench(consecutive_failures=2, is_failure=lambda call, error: call.operation == "bad")
    await bench.fail("good", "good", "good")
    await bench.call("bad", "bad")
    assert bench.breaker.states() == {"good": State.CLOSED, "bad": State.OPEN}


class TestEviction:
    async def test_the_least_recently_called_goes(self):
        bench = Bench(max_keys=3)
        await bench.call("a", "b", "c", "a", "d")
        assert list(bench.breaker.states()) == ["c", "a", "d"]

    async def test_an_open_or_isolated_one_stays_while_a_closed_one_can_go(self):
        bench = Bench(max_keys=3)
        await bench.fail("open")
        bench.breaker.isolate("isolated")
        for key in "abcd":
            await bench.call(key)
        assert bench.breaker.states() == {
            "open": State.OPEN,
            "isolated": State.ISOLATED,
            "d": State.CLOSED,
        }

    async def test_a_half_open_one_stays_too(self):
        bench = Bench(max_keys=2, half_open_probes=2)
        await bench.fail("a")
        await bench.clock.advance(5.0)
        await bench.call("a", "b", "c")
        assert bench.breaker.states() == {"a": State.HALF_OPEN, "c": State.CLOSED}

    async def test_where_none_is_closed_the_open_one_of_longest_ago_goes(self):
        bench = Bench(max_keys=3)
        bench.breaker.isolate("isolated")
        await bench.fail("a", "b", "c")
        assert list(bench.breaker.states()) == ["isolated", "b", "c"]

    async def test_the_bound_holds_even_where_all_are_isolated(self):
        bench = Bench(max_keys=2)
        for key in "abc":
            bench.breaker.isolate(key)
        assert list(bench.breaker.states()) == ["b", "c"]

    async def test_one_that_closed_since_goes_before_the_open_ones(self):
        bench = Bench(max_keys=3, half_open_probes=1)
        await bench.fail("a", "b")
        await bench.clock.advance(5.0)
        bench.gate.clear()
        probe = asyncio.create_task(bench.call("b"))
        await asyncio.sleep(0)
        bench.breaker.isolate("c")
        bench.breaker.isolate("d")  # a goes; b, a probe of which is out, and c stay
        bench.gate.set()
        await probe
        assert bench.breaker.states() == {
            "b": State.CLOSED,
            "c": State.ISOLATED,
            "d": State.ISOLATED,
        }
        bench.breaker.isolate("e")
        assert list(bench.breaker.states()) == ["c", "d", "e"]

    async def test_what_may_not_go_is_not_looked_at_for_every_new_key(self, monkeypatch):
        bench = Bench(max_keys=100)
        await bench.fail(*map(str, range(100)))
        looks, state = [], CircuitBreaker.state
        monkeypatch.setattr(
            CircuitBreaker, "state", property(lambda it: looks.append(it) or state.fget(it))
        )
        for key in range(200, 1200):
            await bench.call(str(key))
        assert len(looks) <= 2 * 100 + 1000

    async def test_one_that_comes_back_is_closed(self):
        bench = Bench(max_keys=1)
        await bench.fail("a", "b")
        await bench.call("a")


async def test_a_key_is_isolated_and_reset_by_hand():
    bench = Bench()
    bench.breaker.isolate("a")
    with pytest.raises(CircuitOpenError, match="isolated"):
        await bench.call("a")
    bench.breaker.reset("a")
    await bench.call("a")
    bench.breaker.reset("never seen")
    assert list(bench.breaker.states()) == ["a"]


class TestReconfigure:
    async def test_it_holds_for_the_keys_there_are_and_for_new_ones(self):
        bench = Bench(consecutive_failures=3)
        await bench.fail("a", "a")
        bench.breaker.reconfigure(consecutive_failures=2, break_duration=60.0)
        await bench.fail("b", "b")
        assert bench.breaker.states()["b"] is State.OPEN
        await bench.call("a")
        await bench.fail("a", "a")
        await bench.clock.advance(59.0)
        with pytest.raises(CircuitOpenError):
            await bench.call("a")

    async def test_all_options_may_be_replaced(self):
        bench = Bench(break_duration=60.0)
        await bench.call("a")
        bench.breaker.reconfigure(options=Options(consecutive_failures=2), break_duration=9.0)
        assert bench.breaker.options == Options(consecutive_failures=2, break_duration=9.0)
        await bench.fail("a", "b")
        assert set(bench.breaker.states().values()) == {State.CLOSED}

    async def test_fewer_keys_may_be_kept_from_then_on(self):
        bench = Bench()
        await bench.call(*"abcd")
        bench.breaker.reconfigure(max_keys=2)
        assert list(bench.breaker.states()) == ["c", "d"]

    @pytest.mark.parametrize("wrong", [{"max_keys": 0}, {"max_keys": 1, "half_open_probes": 0}])
    async def test_all_or_nothing(self, wrong):
        bench = Bench()
        await bench.call(*"ab")
        last = list(wrong)[-1]
        with pytest.raises(ConfigurationError, match=f"^{last} must be .* of at least 1, not 0"):
            bench.breaker.reconfigure(**{"break_duration": 9.0, **wrong})
        assert bench.breaker.max_keys == 1000
        assert bench.breaker.options == Options(consecutive_failures=1)
        assert len(bench.breaker.states()) == 2


class TestKeys:
    def test_by_host(self):
        assert by_host(Call("op", metadata={"host": "Api.Example:8443"})) == "api.example:8443"

    def test_by_host_is_refused_where_no_host_is_called(self):
        keyed = Pipeline(KeyedCircuitBreaker("hosts", key=by_host))
        with pytest.raises(ConfigurationError, match="is keyed by host, which this door does not"):
            keyed.admit(Doorway("PipelineMiddleware", Kind.SERVER))
        keyed.admit(Doorway("PipelineTransport", Kind.CLIENT, hosts=True))
        assert keyed.check() == []

    def test_by_host_where_the_door_names_none(self):
        with pytest.raises(ConfigurationError, match="by_host: the door grpc names no host"):
            by_host(Call("op", transport="grpc"))


@pytest.mark.parametrize("value", [0, 2.5, True])
def test_the_number_of_keys_is_checked(value):
    with pytest.raises(ConfigurationError, match="max_keys must be a whole number of at least 1"):
        KeyedCircuitBreaker("shops", key=by_operation, max_keys=value)


async def test_it_says_what_it_is():
    bench = Bench(max_keys=10)
    await bench.call("a")
    assert traits_of(bench.breaker) == Trait.BREAKS | Trait.NEEDS_OPERATION
    by_region = KeyedCircuitBreaker("shops", key=lambda call: "eu")
    assert traits_of(by_region) is Trait.BREAKS
    assert repr(bench.breaker) == (
        "KeyedCircuitBreaker('shops', 1 of 10 keys, opens if 1 in a row fail, for 5 s, 1 probe)"
    )
