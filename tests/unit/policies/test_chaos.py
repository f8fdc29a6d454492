import asyncio
from datetime import timedelta
from functools import partial

import pytest

from prodkit import Call, Code, Doorway, Kind, Pipeline, Trait
from prodkit.errors import ConfigurationError, ServiceError, UnavailableError
from prodkit.policies.chaos import CHAOS_INJECTED, Chaos, ChaosInjected
from prodkit.testing import EventRecorder, ManualClock
from prodkit.traits import traits_of

pytestmark = pytest.mark.anyio


def broken(call):
    return ConnectionResetError(call.operation)


class Bench:
    """A Chaos around a leaf that counts, with chances that are listed."""

    def __init__(self, *chances, end="answer", **options):
        self.clock = ManualClock()
        self.recorder = EventRecorder()
        self.chances = list(chances)
        self.calls = []
        self.end = end
        options = {"environment": "test", "clock": self.clock, "random": self.draw, **options}
        self.chaos = Chaos(**options)
        self.handler = Pipeline(self.recorder, self.chaos).bind(self.leaf)

    def draw(self):
        return self.chances.pop(0)

    async def leaf(self, call):
        self.calls.append(call.operation)
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    async def run(self, operation="op"):
        return await self.handler(Call(operation))

    @property
    def ran(self):
        return len(self.calls)

    @property
    def faults(self):
        return [event.fault for event in self.recorder.of(ChaosInjected)]


class TestFaults:
    async def test_without_a_rate_nothing_happens_and_nothing_is_drawn(self):
        bench = Bench()
        assert await bench.run() == "answer"
        assert bench.faults == []

    async def test_latency_comes_before_the_call_runs(self):
        bench = Bench(0.0, latency=2.0, latency_rate=0.5)
        task = asyncio.create_task(bench.run())
        await bench.clock.advance(1.9)
        assert (bench.ran, bench.faults) == (0, ["latency"])
        await bench.clock.advance(0.1)
        assert await task == "answer"

    async def test_latency_is_a_second_where_nobody_says(self):
        bench = Bench(0.0, latency_rate=0.5)
        task = asyncio.create_task(bench.run())
        await bench.clock.advance(0.99)
        assert bench.ran == 0
        await bench.clock.advance(0.01)
        assert await task == "answer"

    async def test_an_error_keeps_the_call_from_running(self):
        bench = Bench(0.09, error_rate=0.1)
        with pytest.raises(UnavailableError) as raised:
            await bench.run("GET stock")
        assert bench.ran == 0
        assert bench.faults == ["error"]
        assert raised.value.reason == CHAOS_INJECTED
        assert raised.value.message == "this call failed on purpose"
        assert raised.value.__notes__ == ["Chaos: injected before the call ran"]

    @pytest.mark.parametrize("code", [Code.INTERNAL, Code.DATA_LOSS])
    async def test_an_error_has_the_code_that_was_asked_for(self, code):
        with pytest.raises(ServiceError) as raised:
            await Bench(0.0, error=code, error_rate=1.0).run()
        assert (raised.value.code, raised.value.reason) == (code, CHAOS_INJECTED)

    async def test_or_is_what_a_function_returns(self):
        with pytest.raises(ConnectionResetError, match="GET stock") as raised:
            await Bench(0.0, error=broken, error_rate=1).run("GET stock")
        assert raised.value.__notes__ == ["Chaos: injected before the call ran"]

    async def test_an_abort_loses_the_answer_of_a_call_that_ran(self):
        bench = Bench(0.0, abort_rate=0.01)
        with pytest.raises(UnavailableError) as raised:
            await bench.run("GET stock")
        assert bench.ran == 1
        assert bench.faults == ["abort"]
        assert raised.value.reason == CHAOS_INJECTED
        assert raised.value.message == "the answer was lost on purpose"
        assert raised.value.__notes__ == ["Chaos: injected after the call ran"]
        assert raised.value.__cause__ is None

    async def test_an_abort_loses_an_error_too(self):
        error = KeyError("x")
        with pytest.raises(UnavailableError) as raised:
            await Bench(0.0, abort_rate=1.0, end=error).run()
        assert raised.value.__cause__ is error

    async def test_a_cancelled_call_is_cancelled_whatever_was_to_come(self):
        bench = Bench(0.0, abort_rate=1.0)
        started = asyncio.Event()

        async def hang(call):
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(bench.chaos(Call("op"), hang))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_all_three_are_drawn_in_their_order(self):
        rates = {"latency_rate": 0.5, "error_rate": 0.5, "abort_rate": 0.5, "latency": 0.001}
        bench = Bench(0.5, 0.5, 0.5, **rates)  # what is drawn must be below the rate
        assert await bench.run() == "answer"
        assert (bench.chances, bench.faults) == ([], [])
        bench = Bench(0.4, 0.4, 0.4, **rates)
        task = asyncio.create_task(bench.run())
        await bench.clock.advance(1)
        with pytest.raises(UnavailableError, match="failed on purpose"):
            await task
        assert (bench.chances, bench.faults, bench.ran) == ([], ["latency", "error"], 0)

    async def test_each_is_told_in_the_policys_name(self):
        bench = Bench(0.0, 1.0, 0.0, latency_rate=1, error_rate=0.5, abort_rate=1, latency=1)
        task = asyncio.create_task(bench.run())
        await bench.clock.advance(1)
        with pytest.raises(UnavailableError):
            await task
        bench.chances = [1.0, 0.0, 1.0]
        bench.chaos.reconfigure(latency_rate=0.5, abort_rate=0.5)
        with pytest.raises(UnavailableError):
            await bench.run()
        told = [(event.policy, event.fault) for event in bench.recorder.events]
        assert told == [("chaos", "latency"), ("chaos", "abort"), ("chaos", "error")]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"enabled": lambda: False},
            {"match": lambda call: False},
            {"error_rate": 0.5},
            {"abort_rate": 1.0},
        ],
        ids=["no fault", "switched off", "no match", "spared", "answer lost"],
    )
    async def test_the_call_that_proceeds_is_the_one_that_came(self, options):
        bench = Bench(0.5, **options)
        if "abort_rate" in options:
            with pytest.raises(UnavailableError):
                await bench.run("pay")
        else:
            await bench.run("pay")
        assert bench.calls == ["pay"]


class TestWhen:
    async def test_only_what_matches_is_touched(self):
        bench = Bench(0.0, error_rate=1.0, match=lambda call: call.operation == "pay")
        assert await bench.run("look") == "answer"
        with pytest.raises(UnavailableError):
            await bench.run("pay")

    async def test_the_switch_is_asked_at_every_call(self):
        switch = [False]
        bench = Bench(0.0, error_rate=1.0, enabled=lambda: switch[0])
        assert await bench.run() == "answer"
        switch[0] = True
        with pytest.raises(UnavailableError):
            await bench.run()
        switch[0] = False
        assert await bench.run() == "answer"

    @pytest.mark.parametrize(
        "environment", ["production", "prod", "Production", "prod-eu", "eu_PRD", "live", "a.prod"]
    )
    def test_production_is_refused(self, environment):
        with pytest.raises(ConfigurationError, match="needs allow_production=True"):
            Chaos(environment=environment)
        Chaos(environment=environment, allow_production=True)

    @pytest.mark.parametrize("environment", ["staging", "test", "preprod", "delivery", "demo"])
    def test_other_environments_are_believed(self, environment):
        Chaos(environment=environment)

    @pytest.mark.parametrize("environment", ["", " ", None, True])
    def test_an_environment_must_be_said(self, environment):
        with pytest.raises(ConfigurationError, match="environment must say where"):
            Chaos(environment=environment, allow_production=True)


class TestOptions:
    @pytest.mark.parametrize("option", ["latency_rate", "error_rate", "abort_rate"])
    @pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), True, "0.5", None])
    def test_a_rate_is_a_share(self, option, value):
        with pytest.raises(ConfigurationError, match=f"{option} must be 0 to 1, not"):
            Chaos(environment="test", **{option: value})

    @pytest.mark.parametrize("latency", [0, -1, float("inf"), float("nan"), timedelta(0)])
    def test_latency_is_a_duration(self, latency):
        with pytest.raises(ConfigurationError, match="latency must be a positive number"):
            Chaos(environment="test", latency=latency)

    @pytest.mark.parametrize("error", [Code.OK, Code.CANCELLED, 14, KeyError, KeyError("x")])
    def test_an_error_is_a_code_or_a_function(self, error):
        with pytest.raises(ConfigurationError, match="error must be a code other than"):
            Chaos(environment="test", error=error)

    @pytest.mark.parametrize("option", ["match", "enabled"])
    @pytest.mark.parametrize("value", [True, "pay", bool])
    def test_the_predicates_are_functions(self, option, value):
        with pytest.raises(ConfigurationError, match=f"{option} must be a function"):
            Chaos(environment="test", **{option: value})

    async def test_all_can_be_changed_while_it_runs(self):
        bench = Bench(0.0, 0.0, 0.0, 0.0, 0.0, abort_rate=0.001)
        bench.chaos.reconfigure(abort_rate=0.0, error_rate=1.0, error=Code.INTERNAL)
        with pytest.raises(ServiceError, match="on purpose") as raised:
            await bench.run()
        assert raised.value.code is Code.INTERNAL
        bench.chaos.reconfigure(match=lambda call: call.operation == "pay")
        assert await bench.run() == "answer"
        bench.chaos.reconfigure(enabled=lambda: False)
        assert await bench.run("pay") == "answer"
        bench.chaos.reconfigure(
            error_rate=0, latency=timedelta(seconds=3), latency_rate=1, enabled=lambda: True
        )
        task = asyncio.create_task(bench.run("pay"))
        await bench.clock.advance(2.9)
        assert not task.done()
        await bench.clock.advance(0.1)
        assert await task == "answer"
        bench.chaos.reconfigure(latency_rate=0.0, abort_rate=1.0)
        with pytest.raises(UnavailableError, match="was lost"):
            await bench.run("pay")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"latency_rate": 2},
            {"error_rate": -1},
            {"abort_rate": 2},
            {"latency": 0},
            {"error": 14},
            {"match": True},
            {"enabled": True},
            {"abort_rate": 0.1},
        ],
        ids=str,
    )
    async def test_all_or_nothing_is_changed(self, wrong):
        bench = Bench()
        options = {"error_rate": 1.0, "match": lambda call: True, **wrong}
        with pytest.raises(ConfigurationError, match=f"^{next(iter(wrong))} "):
            bench.chaos.reconfigure(**options)
        assert await bench.run() == "answer"

    def test_aborts_are_refused_where_the_answer_leaves_at_once(self):
        early = Doorway("http", Kind.SERVER, early=True)
        chaos = Chaos(environment="test", abort_rate=0.1)
        with pytest.raises(ConfigurationError, match="Chaos cannot take back an answer"):
            Pipeline(chaos).admit(early)
        Pipeline(chaos).admit(Doorway("queue", Kind.CONSUMER))
        late = Chaos(environment="test", error_rate=0.1)
        Pipeline(late).admit(early)
        assert traits_of(late) is Trait.INJECTS
        with pytest.raises(ConfigurationError) as refused:
            late.reconfigure(abort_rate=0.1)
        assert str(refused.value) == (
            "abort_rate was 0 at construction and cannot become 0.1: not every door can lose an "
            "answer; start with a small rate and the switch off"
        )

    def test_it_draws_by_itself(self):
        assert 0 <= Chaos(environment="test")._random() < 1

    @pytest.mark.parametrize(
        ("options", "shown"),
        [
            ({}, "Chaos('test', nothing)"),
            (
                {"latency": 0.2, "latency_rate": 0.1, "error_rate": 0.05, "abort_rate": 1},
                "Chaos('test', 0.2 s late at 10 %, UNAVAILABLE at 5 %, answer lost at 100 %)",
            ),
            (
                {"error": lambda call: KeyError(), "error_rate": 0.5},
                "Chaos('test', <lambda> at 50 %)",
            ),
            ({"error": partial(broken), "error_rate": 0.5}, "Chaos('test', error at 50 %)"),
        ],
    )
    def test_it_shows_its_options(self, options, shown):
        assert repr(Chaos(environment="test", **options)) == shown
