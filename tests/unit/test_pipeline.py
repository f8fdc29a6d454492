import inspect

import pytest

from prodkit import Call, Kind, Pipeline, Principal, Trait
from prodkit.call import CURRENT
from prodkit.errors import ConfigurationError
from prodkit.pipeline import traits_of


class Tracer:
    """A middleware that notes when it is entered and left."""

    def __init__(self, name, log, traits=Trait.NONE):
        self.name, self.log, self.traits = name, log, traits

    async def __call__(self, call, proceed):
        self.log.append(f"+{self.name}")
        try:
            return await proceed(call)
        finally:
            self.log.append(f"-{self.name}")

    def __repr__(self):
        return self.name


def having(traits):
    return Tracer("it", [], traits)


async def leaf(call):
    return call.operation


def check(*members, **options):
    Pipeline(*members).check(**{"door": "test", "kind": Kind.CLIENT, **options})


class TestBind:
    @pytest.mark.anyio
    async def test_members_run_outermost_first(self):
        log = []
        handler = Pipeline(Tracer("a", log), Tracer("b", log)).bind(leaf)
        assert await handler(Call("op")) == "op"
        assert log == ["+a", "+b", "-b", "-a"]

    @pytest.mark.anyio
    async def test_a_bare_function_is_a_middleware(self):
        async def shout(call, proceed):
            return (await proceed(call)).upper()

        assert await Pipeline(shout).bind(leaf)(Call("op")) == "OP"
        assert "shout" in repr(Pipeline(shout))

    @pytest.mark.anyio
    async def test_a_member_may_answer_by_itself_or_ask_again(self):
        async def answer(call, proceed):
            return "mine"

        async def twice(call, proceed):
            return await proceed(call) + await proceed(call)

        assert await Pipeline(answer, twice).bind(leaf)(Call("op")) == "mine"
        assert await Pipeline(twice).bind(leaf)(Call("op")) == "opop"

    def test_without_members_the_leaf_is_the_handler(self):
        assert Pipeline().bind(leaf) is leaf

    def test_members_must_be_callable(self):
        with pytest.raises(ConfigurationError, match="member 2 is not a middleware: 'x'"):
            Pipeline(having(Trait.NONE), "x")

    def test_a_class_is_no_member(self):
        with pytest.raises(ConfigurationError, match="member 1 is not a middleware: <class"):
            Pipeline(Tracer)

    def test_repr_reads_in_order(self):
        assert repr(Pipeline(Tracer("a", []), Tracer("b", []))) == "Pipeline(a -> b)"


class TestTraits:
    def test_a_pipeline_has_its_members_traits(self):
        pipeline = Pipeline(having(Trait.REPEATS), leaf, having(Trait.OBSERVES))
        assert pipeline.traits == Trait.REPEATS | Trait.OBSERVES

    def test_what_is_not_a_trait_is_none(self):
        assert traits_of(having("REPEATS")) is Trait.NONE


class TestCheck:
    def test_what_needs_a_principal_comes_after_authentication(self):
        needs, gives = having(Trait.NEEDS_PRINCIPAL), having(Trait.GIVES_PRINCIPAL)
        with pytest.raises(ConfigurationError, match="test: Tracer is keyed by principal"):
            check(needs, gives)
        check(gives, needs)
        check(needs, principal=True)

    @pytest.mark.parametrize("kind", [Kind.SERVER, Kind.CONSUMER])
    def test_what_repeats_is_for_outbound_calls(self, kind):
        with pytest.raises(ConfigurationError, match="Tracer is for outbound calls only"):
            check(having(Trait.REPEATS), kind=kind)

    def test_what_repeats_cannot_repeat_a_stream(self):
        with pytest.raises(ConfigurationError, match="Tracer cannot repeat a stream"):
            check(having(Trait.REPEATS), streams=True)

    def test_what_repeats_must_be_declared_where_the_door_knows(self):
        with pytest.raises(ConfigurationError, match="not declared safe"):
            check(having(Trait.REPEATS), repeatable=False)
        check(having(Trait.REPEATS), repeatable=True)
        check(having(Trait.REPEATS))

    def test_what_replays_needs_a_door_that_keeps_answers_and_no_stream(self):
        replays = having(Trait.REPLAYS)
        with pytest.raises(ConfigurationError, match="cannot keep the answer of a stream"):
            check(replays, replays=True, streams=True)
        with pytest.raises(ConfigurationError, match="needs a door that can keep answers"):
            check(replays)
        check(replays, replays=True)

    def test_what_declares_nothing_goes_anywhere(self):
        check(leaf, kind=Kind.SERVER, streams=True, repeatable=False)


class TestDecorator:
    @pytest.mark.anyio
    async def test_the_function_keeps_its_signature_and_result(self):
        log = []

        @Pipeline(Tracer("a", log))
        async def price(sku: str, *, quantity: int = 1) -> str:
            """Say what it costs."""
            return sku * quantity

        assert await price("ab", quantity=2) == "abab"
        assert log == ["+a", "-a"]
        assert price.__doc__ == "Say what it costs."
        assert list(inspect.signature(price).parameters) == ["sku", "quantity"]

    @pytest.mark.anyio
    async def test_the_call_says_what_was_declared(self):
        seen = []

        async def keep(call, proceed):
            seen.append(call)
            return await proceed(call)

        @Pipeline(keep)(operation="pay", safe=False, key=lambda order: f"pay-{order}")
        async def pay(order):
            return order

        @Pipeline(keep)
        async def plain():
            return None

        await pay(7)
        await plain()
        assert [(c.safe, c.key) for c in seen] == [(False, "pay-7"), (None, None)]
        assert seen[0].operation == "pay"
        assert seen[1].operation.endswith("plain")
        assert (seen[0].kind, seen[0].transport) == (Kind.INTERNAL, "function")

    @pytest.mark.anyio
    async def test_a_call_inherits_from_the_one_being_answered(self):
        async def keep(call, proceed):
            return call

        @Pipeline(keep)
        async def work():
            raise AssertionError

        principal = Principal("u-1")
        token = CURRENT.set(Call("in", deadline=12.0, request_id="r-1", principal=principal))
        try:
            call = await work()
        finally:
            CURRENT.reset(token)
        assert (call.deadline, call.request_id, call.principal) == (12.0, "r-1", principal)

    def test_undeclared_under_what_repeats_fails_at_once(self):
        pipeline = Pipeline(having(Trait.REPEATS))
        with pytest.raises(ConfigurationError, match=r"function .*leaf: Tracer would repeat"):
            pipeline(leaf)
        assert pipeline(safe=True)(leaf)
        assert pipeline(key=lambda call: "k")(leaf)
