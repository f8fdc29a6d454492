import inspect
from collections.abc import Awaitable
from functools import partial, wraps
from unittest.mock import AsyncMock

import pytest

from prodkit import Call, Doorway, Kind, Pipeline, Principal, Severity, Trait
from prodkit.call import CURRENT
from prodkit.errors import ConfigurationError
from prodkit.pipeline import admit as bind_at
from prodkit.pipeline import log_doubt


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


async def agenerator():
    yield 7


def generator():
    yield 7


def plain():
    return 7


async def asynchronous(number=1):
    return 7


def promising() -> Awaitable[int]:
    return asynchronous()


@wraps(asynchronous)
def wrapping():
    return asynchronous()


class Plain:
    def method(self):
        return 7

    async def asked(self):
        return 7


def admit(*members, kind=Kind.CLIENT, on_doubt=log_doubt, **options):
    Pipeline(*members, on_doubt=on_doubt).admit(Doorway("test", kind, **options))


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
        assert repr(Pipeline(shout)) == "Pipeline\n  -> shout"

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

    def test_a_pipeline_is_no_member_of_another(self):
        with pytest.raises(ConfigurationError, match=r"member 2 is a Pipeline itself"):
            Pipeline(having(Trait.NONE), Pipeline())

    def test_repr_reads_in_order(self):
        assert repr(Pipeline(Tracer("a", []), Tracer("b", []))) == "Pipeline\n  -> a\n  -> b"


class TestTraits:
    def test_a_pipeline_has_its_members_traits(self):
        pipeline = Pipeline(having(Trait.REPEATS), leaf, having(Trait.OBSERVES))
        assert pipeline.traits == Trait.REPEATS | Trait.OBSERVES


class TestAdmit:
    def test_faults_are_refused_all_at_once(self):
        with pytest.raises(ConfigurationError) as refused:
            admit(having(Trait.REPEATS), having(Trait.REPLAYS), kind=Kind.SERVER, streams=True)
        assert str(refused.value) == (
            "test: Tracer is for outbound calls only; Tracer cannot keep the answer of a stream"
        )

    def test_doubts_are_logged_once(self, caplog):
        pipeline = Pipeline(having(Trait.BREAKS), having(Trait.REPEATS))
        for _ in range(2):
            pipeline.admit(Doorway("test", Kind.CLIENT))
        [record] = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("test: Tracer is outside of a Tracer")
        assert record.name == "prodkit.pipeline"

    def test_doubts_can_be_refused_too(self):
        def refuse(doorway, finding):
            raise ConfigurationError(f"{doorway.name}: {finding}")

        with pytest.raises(ConfigurationError, match="test: Tracer is outside of a Tracer"):
            admit(having(Trait.BREAKS), having(Trait.REPEATS), on_doubt=refuse)

    def test_a_look_at_the_order_needs_no_door(self):
        findings = Pipeline(having(Trait.BREAKS), having(Trait.REPEATS)).check()
        assert [finding.severity for finding in findings] == [Severity.DOUBT]
        assert Pipeline(having(Trait.REPEATS), having(Trait.REPLAYS)).check() == []

    def test_a_door_is_given_a_pipeline_and_no_member_by_itself(self):
        door = Doorway("test", Kind.CLIENT)
        with pytest.raises(ConfigurationError) as refused:
            bind_at(Tracer("a", []), door)
        assert str(refused.value) == (
            "test: pipeline must be a Pipeline, Pipeline(a) say, not a by itself"
        )
        bind_at(Pipeline(Tracer("a", [])), door)
        with pytest.raises(ConfigurationError, match="test: Tracer needs a door"):
            bind_at(Pipeline(having(Trait.REPLAYS)), door)

    def test_what_declares_nothing_goes_anywhere(self):
        admit(leaf, kind=Kind.SERVER, streams=True, repeatable=False)


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

    def test_a_function_knows_its_caller_and_may_be_answered_for(self):
        assert Pipeline(having(Trait.NEEDS_PRINCIPAL | Trait.SUBSTITUTES | Trait.SHEDS))(leaf)
        with pytest.raises(ConfigurationError, match="needs a door that can keep answers"):
            Pipeline(having(Trait.REPLAYS))(leaf)

    def test_its_door_is_told_to_who_asks(self):
        doors = []
        pipeline = Pipeline(
            having(Trait.BREAKS),
            having(Trait.OBSERVES),
            on_doubt=lambda door, _: doors.append(door),
        )
        pipeline(operation="price")(leaf)
        assert doors == [
            Doorway(
                "function price", Kind.INTERNAL, substitutes=True, principal=True, repeatable=False
            )
        ]

    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (agenerator, "agenerator"),
            (generator, "generator"),
            (partial(generator), repr(partial(generator))),
        ],
        ids=["asynchronous", "plain", "partial"],  # the same in every process
    )
    def test_a_generator_is_refused_at_once(self, target, name):
        with pytest.raises(ConfigurationError) as refused:
            Pipeline()(operation="op")(target)
        assert str(refused.value) == (
            f"{name} is a generator: a pipeline goes around a function that returns once; put it "
            "around what opens the stream, or around each of its steps"
        )

    @pytest.mark.parametrize("target", [plain, lambda: 7, Plain().method])
    def test_a_plain_function_is_refused_at_once(self, target):
        with pytest.raises(ConfigurationError) as refused:
            Pipeline(having(Trait.NONE))(target)
        assert str(refused.value) == (
            f"{target.__qualname__} is no `async def`; if what it returns can be awaited, annotate "
            "that (-> Awaitable[...])"
        )

    @pytest.mark.parametrize("target", ["name", None, 7, Plain])
    def test_what_is_no_function_is_refused_at_once(self, target):
        with pytest.raises(ConfigurationError, match="goes around an async function, not"):
            Pipeline()(operation="op")(target)

    @pytest.mark.anyio
    @pytest.mark.parametrize(
        "target",
        [promising, wrapping, partial(asynchronous, 1), AsyncMock(return_value=7), Plain().asked],
        ids=["annotated", "wrapper", "partial", "mock", "method"],
    )
    async def test_what_can_be_awaited_is_taken(self, target):
        assert await Pipeline()(operation="op")(target)() == 7

    @pytest.mark.anyio
    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (partial(partial(asynchronous), 1), f"{__name__}.asynchronous"),
            (AsyncMock(return_value=7), "unittest.mock.AsyncMock"),
            (Plain().asked, f"{__name__}.Plain.asked"),
        ],
        ids=["partial", "object", "method"],
    )
    async def test_the_operation_is_named_after_what_is_called(self, target, name):
        async def show(call, _proceed):
            return call.operation

        assert await Pipeline(show)(target)() == name

    @pytest.mark.anyio
    @pytest.mark.parametrize("word", ["Awaitable", "Coroutine", "Future", "Task"])
    async def test_what_is_annotated_as_such_is_taken(self, word):
        def target():
            return asynchronous()

        target.__annotations__["return"] = f"{word}[int]"
        assert await Pipeline()(target)() == 7

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"key": "order_id"}, "key must be a plain function, not 'order_id'"),
            ({"key": asynchronous}, "key must be a plain function, not <function async"),
            ({"safe": "yes"}, "safe must be True, False or None, not 'yes'"),
            ({"safe": 1}, "safe must be True, False or None, not 1"),
        ],
    )
    def test_wrong_options_are_refused_at_once(self, options, message):
        with pytest.raises(ConfigurationError, match=message):
            Pipeline()(**options)(leaf)

    def test_undeclared_under_what_repeats_fails_at_once(self):
        pipeline = Pipeline(having(Trait.REPEATS))
        with pytest.raises(ConfigurationError, match=r"function .*leaf: Tracer would repeat"):
            pipeline(leaf)
        assert pipeline(safe=True)(leaf)
        assert pipeline(key=lambda call: "k")(leaf)


@pytest.mark.parametrize("traits", [5, "SHEDS", None, Trait])
def test_traits_that_are_none_are_refused_by_name(traits):
    class Shedder:
        async def __call__(self, call, proceed):
            return await proceed(call)

        def __repr__(self):
            return "Shedder()"

    Shedder.traits = traits
    with pytest.raises(ConfigurationError, match=r"member 1: the .* traits of Shedder.. must be a"):
        Pipeline(Shedder())


def test_who_observes_is_shown_the_others_at_start():
    class Watcher(Tracer):
        def watch(self, members):
            self.log.append(members)

    shown = []
    members = Watcher("observer", shown, Trait.OBSERVES), Watcher("other", []), having(Trait.NONE)
    Pipeline(*members).admit(Doorway("door", Kind.SERVER))
    assert shown == [members]
    assert members[1].log == []


def test_who_observes_need_not_watch():
    Pipeline(having(Trait.OBSERVES)).admit(Doorway("door", Kind.SERVER))
