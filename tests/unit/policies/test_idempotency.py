import asyncio
import contextlib
import uuid

import pytest

from prodkit import Call, Doorway, Kind, Pipeline, Principal, Trait
from prodkit.errors import (
    AbortedError,
    Code,
    ConfigurationError,
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from prodkit.policies.claim import Claim, Terms
from prodkit.policies.deadline import Deadline
from prodkit.policies.idempotency import (
    AnswerReplayed,
    ClaimLost,
    Idempotency,
    LostClaimError,
    StoreFailed,
    current_claim,
)
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio
SECRET = b"sixteen bytes or more"


class TextCodec:
    def __init__(self, content):
        self._content = content

    async def content(self):
        return self._content.encode()

    def freeze(self, result):
        return result.encode()

    def thaw(self, data):
        return data.decode()


def ask(key="key", content="10 EUR", subject="ann", operation="pay", **options):
    principal = Principal(subject) if subject else None
    codec = TextCodec(content)
    return Call(operation, Kind.SERVER, key=key, principal=principal, codec=codec, **options)


class Shop:
    """A pipeline over one handler whose runs are counted, and that does what a test says."""

    def __init__(self, store=None, **options):
        self.clock = ManualClock()
        self.store = store or MemoryIdempotencyStore()
        options = {"secret": SECRET, "lease": 30.0, "clock": self.clock} | options
        self.policy = Idempotency(self.store, **options)
        self.runs = 0
        self.claims = []
        self.act = None
        self.send = Pipeline(self.policy).bind(self._handle)

    async def _handle(self, call):
        self.runs += 1
        self.claims.append(current_claim())
        if self.act is not None:
            return await self.act(call)
        return f"receipt {self.runs}"


def hear(call):
    heard = []
    call.subscribe(lambda _, event: heard.append(event))
    return heard


async def test_the_same_request_again_gets_the_first_answer():
    shop = Shop()
    assert await shop.send(ask()) == "receipt 1"
    again = ask()
    heard = hear(again)
    assert await shop.send(again) == "receipt 1"
    assert shop.runs == 1
    assert heard == [AnswerReplayed("idempotency")]


@pytest.mark.parametrize("other", [{"key": "other"}, {"subject": "bob"}, {"operation": "refund"}])
async def test_another_key_principal_or_operation_is_another_request(other):
    shop = Shop()
    await shop.send(ask())
    assert await shop.send(ask(**other)) == "receipt 2"


async def test_parts_of_a_scope_cannot_be_shifted_into_each_other():
    shop = Shop()
    await shop.send(ask(subject="a:b", operation="c"))
    assert await shop.send(ask(subject="a", operation="b:c")) == "receipt 2"
    await shop.send(ask(operation="pay", key=":x"))
    assert await shop.send(ask(operation="pay:", key="x")) == "receipt 4"


async def test_another_payload_under_a_used_key_is_refused():
    shop = Shop()
    await shop.send(ask())
    with pytest.raises(InvalidArgumentError) as refused:
        await shop.send(ask(content="1000 EUR"))
    assert refused.value.reason == "IDEMPOTENCY_KEY_REUSED"
    assert shop.runs == 1


async def test_while_the_first_still_runs_others_are_told_to_come_back():
    shop, finish = Shop(), asyncio.Event()
    shop.act = lambda _: wait_for(finish)
    first = asyncio.create_task(shop.send(ask()))
    await shop.clock.settle()
    with pytest.raises(AbortedError) as refused:
        await shop.send(ask())
    assert refused.value.reason == "IDEMPOTENCY_KEY_IN_USE"
    assert refused.value.retry_after == 1.0
    with pytest.raises(InvalidArgumentError, match="different request"):
        await shop.send(ask(content="1000 EUR"))
    finish.set()
    assert await first == "done"
    assert await shop.send(ask()) == "done"
    assert shop.runs == 1


async def wait_for(event):
    await event.wait()
    return "done"


@pytest.mark.parametrize("key", ["", "k" * 256])
async def test_a_key_has_1_to_255_characters(key):
    shop = Shop()
    with pytest.raises(InvalidArgumentError) as refused:
        await shop.send(ask(key=key))
    assert refused.value.reason == "IDEMPOTENCY_KEY_INVALID"
    assert await shop.send(ask(key="k" * 255)) == "receipt 1"


async def test_a_required_key_that_is_missing_is_refused():
    shop = Shop(required=True)
    with pytest.raises(InvalidArgumentError) as refused:
        await shop.send(ask(key=None))
    assert refused.value.reason == "IDEMPOTENCY_KEY_MISSING"
    assert shop.runs == 0


class Untouchable:
    transactional = False

    def __getattr__(self, name):
        def ask(*_, **__):
            raise AssertionError(f"the store was asked to {name}")

        return ask


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        ({}, {"key": None}),
        ({}, {"key": None, "subject": None}),
        ({}, {"safe": True}),
        ({"required": True}, {"safe": True, "key": None}),
        ({}, {"key": None, "streaming": True}),
        ({"required": True}, {"key": None, "streaming": True}),
    ],
)
async def test_what_it_does_not_apply_to_it_does_not_touch(options, request_):
    shop = Shop(Untouchable(), **options)
    call = ask(**request_)
    call.codec = None
    heard = hear(call)
    assert await shop.send(call) == "receipt 1"
    assert (shop.claims, heard, call.reply) == ([None], [], None)


async def test_what_a_handler_raised_is_not_kept():
    shop = Shop()

    async def fail(call):
        raise NotFoundError("no such account")

    shop.act = fail
    with pytest.raises(NotFoundError):
        await shop.send(ask())
    shop.act = None
    assert await shop.send(ask(content="corrected")) == "receipt 2"


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        (Code.OK, True),
        (Code.NOT_FOUND, True),
        (Code.FAILED_PRECONDITION, True),
        (Code.ALREADY_EXISTS, True),
        (Code.INTERNAL, False),
        (Code.UNAVAILABLE, False),
        (Code.UNKNOWN, False),
        (Code.INVALID_ARGUMENT, False),
        (Code.PERMISSION_DENIED, False),
        (Code.UNAUTHENTICATED, False),
        (Code.RESOURCE_EXHAUSTED, False),
        (Code.ABORTED, False),
    ],
)
async def test_a_returned_answer_is_kept_unless_its_code_says_not_done(code, kept):
    shop = Shop()

    async def return_it(call):
        call.code = code
        return f"answer {shop.runs}"

    shop.act = return_it
    assert await shop.send(ask()) == "answer 1"
    assert await shop.send(ask()) == ("answer 1" if kept else "answer 2")


async def test_an_answer_that_cannot_be_frozen_fails_loudly_and_holds_no_key():
    shop = Shop()

    async def number(call):
        return 7

    shop.act = number
    with pytest.raises(AttributeError):
        await shop.send(ask())
    shop.act = None
    assert await shop.send(ask()) == "receipt 2"


class Transactional(MemoryIdempotencyStore):
    """A store whose users roll back what does not commit; the handlers here wrote nothing."""

    transactional = True


class TestAnEffectOfUnknownFate:
    @staticmethod
    async def cancelled(shop):
        shop.act = lambda _: wait_for(asyncio.Event())
        first = asyncio.create_task(shop.send(ask()))
        await shop.clock.settle()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    @staticmethod
    async def past_its_deadline(shop):
        async def fail(call):
            raise DeadlineExceededError("the bank is slow")

        shop.act = fail
        with pytest.raises(DeadlineExceededError):
            await shop.send(ask())

    @staticmethod
    async def out_of_time(shop):
        async def fail(call):
            raise TimeoutError

        shop.act = fail
        with pytest.raises(TimeoutError):
            await shop.send(ask())

    @staticmethod
    async def answered_with(shop, code):
        async def answer(call):
            call.code = code
            return "gateway timeout"

        shop.act = answer
        assert await shop.send(ask()) == "gateway timeout"

    @classmethod
    async def answered_504(cls, shop):
        await cls.answered_with(shop, Code.DEADLINE_EXCEEDED)

    @classmethod
    async def answered_499(cls, shop):
        await cls.answered_with(shop, Code.CANCELLED)

    ENDS = ("cancelled", "past_its_deadline", "out_of_time", "answered_504", "answered_499")

    @pytest.mark.parametrize("end", ENDS)
    async def test_is_not_repeated_until_the_lease_ends(self, end):
        shop = Shop(lease=30.0)
        await getattr(self, end)(shop)
        shop.act = None
        await shop.clock.advance(29.9)
        with pytest.raises(AbortedError, match="may have taken effect") as refused:
            await shop.send(ask())
        assert refused.value.reason == "IDEMPOTENCY_KEY_IN_USE"
        await shop.clock.advance(0.2)
        assert await shop.send(ask()) == "receipt 2"

    @pytest.mark.parametrize("end", ENDS)
    async def test_there_is_none_where_a_transaction_rolled_it_back(self, end):
        shop = Shop(Transactional())
        await getattr(self, end)(shop)
        shop.act = None
        assert await shop.send(ask()) == "receipt 2"

    async def test_of_a_deadline_outside_is_not_repeated_either(self):
        shop = Shop(lease=30.0)
        outside = Pipeline(Deadline(5.0, clock=shop.clock), shop.policy)
        shop.send = outside.bind(shop._handle)
        shop.act = lambda _: wait_for(asyncio.Event())
        first = asyncio.create_task(shop.send(ask()))
        await shop.clock.advance(5.0)
        with pytest.raises(DeadlineExceededError):
            await first
        with pytest.raises(AbortedError, match="may have taken effect"):
            await shop.send(ask())

    async def test_a_drain_leaves_the_key_to_the_lease_and_another_process_runs_it_then(self):
        shop = Shop(lease=30.0)
        await self.cancelled(shop)
        elsewhere = Shop(shop.store, clock=shop.clock, lease=30.0)
        with pytest.raises(AbortedError):
            await elsewhere.send(ask())
        await shop.clock.advance(30.1)
        assert await elsewhere.send(ask()) == "receipt 1"

    async def test_a_refusal_of_this_very_call_is_no_effect_at_all(self):
        shop = Shop()

        async def refuse(call):
            raise RejectedError(
                "late",
                call=call,
                policy="p",
                measured=1,
                threshold=1,
                code=Code.DEADLINE_EXCEEDED,
            )

        shop.act = refuse
        with pytest.raises(RejectedError):
            await shop.send(ask())
        shop.act = None
        assert await shop.send(ask()) == "receipt 2"

    async def test_the_beat_under_way_is_awaited_and_renews_the_lease(self):
        clock = ManualClock()
        shop = Shop(Slow(clock, "extend"), clock=clock, lease=30.0)
        shop.act = lambda _: wait_for(asyncio.Event())
        first = asyncio.create_task(shop.send(ask()))
        await clock.advance(10.5)  # the beat takes a second
        first.cancel()
        await clock.settle()
        assert not first.done()
        await clock.advance(5.0)
        with pytest.raises(asyncio.CancelledError):
            await first
        shop.act = None
        await clock.advance(15.0)  # beyond the first lease
        with pytest.raises(AbortedError):
            await shop.send(ask())


async def test_the_heartbeat_keeps_a_long_handler_alone():
    shop, finish = Shop(lease=30.0, retention=60.0), asyncio.Event()
    shop.act = lambda _: wait_for(finish)
    first = asyncio.create_task(shop.send(ask()))
    await shop.clock.advance(1000.0)
    with pytest.raises(AbortedError, match="still running"):
        await shop.send(ask())
    finish.set()
    assert await first == "done"


async def test_the_heartbeat_ends_with_the_handler():
    class Counting(MemoryIdempotencyStore):
        beats = 0

        async def extend(self, *args, **options):
            self.beats += 1
            return await super().extend(*args, **options)

    shop = Shop(Counting())
    await shop.send(ask())
    await shop.clock.advance(1000.0)
    assert shop.store.beats == 0


def test_a_claim_that_never_beat_has_nothing_to_stop():
    terms, clock = Terms(lease=30.0, retention=60.0), ManualClock()
    Claim(ask(), TextCodec(""), MemoryIdempotencyStore(), "id", terms, clock).rest()


async def test_a_beat_under_way_is_awaited():
    class Slow(MemoryIdempotencyStore):
        ended = False
        begun = 0

        async def extend(self, *args, **options):
            self.begun += 1
            await shop.clock.sleep(5.0)
            self.ended = True
            return True

    shop, finish = Shop(Slow()), asyncio.Event()
    shop.act = lambda _: wait_for(finish)
    first = asyncio.create_task(shop.send(ask()))
    await shop.clock.advance(12.0)
    finish.set()
    await shop.clock.settle()
    assert not first.done()
    await shop.clock.advance(3.0)
    assert first.done()
    assert shop.store.ended
    await shop.clock.advance(100.0)
    assert shop.store.begun == 1  # and it was the last


async def test_a_failing_heartbeat_is_told_and_tried_again():
    class Flaky(MemoryIdempotencyStore):
        async def extend(self, *args, **options):
            failures.pop()
            raise UnavailableError("away")

    failures = [1, 1]
    shop, finish = Shop(Flaky()), asyncio.Event()
    shop.act = lambda _: wait_for(finish)
    call = ask()
    heard = hear(call)
    first = asyncio.create_task(shop.send(call))
    await shop.clock.advance(20.0)
    assert failures == []
    assert heard == [StoreFailed("idempotency", "extend", "UnavailableError('away')")] * 2
    finish.set()
    assert await first == "done"


async def test_who_was_taken_over_hears_of_it_and_completes_nothing():
    class Frozen(MemoryIdempotencyStore):
        """Its process was stopped: the first beats came too late."""

        async def extend(self, key, fence, *, now, terms):
            return fence != fences[0] and await super().extend(key, fence, now=now, terms=terms)

        async def claim(self, key, fingerprint, fence, **options):
            fences.append(fence)
            return await super().claim(key, fingerprint, fence, **options)

    fences = []
    shop, finish = Shop(Frozen()), asyncio.Event()
    shop.act = lambda _: wait_for(finish)
    call = ask()
    heard = hear(call)
    first = asyncio.create_task(shop.send(call))
    await shop.clock.advance(31.0)
    assert heard == [ClaimLost("idempotency")]
    elsewhere = Shop(shop.store, clock=shop.clock)
    assert await elsewhere.send(ask()) == "receipt 1"
    finish.set()
    with pytest.raises(LostClaimError):
        await first
    assert await shop.send(ask()) == "receipt 1"


async def test_a_release_that_fails_does_not_hide_the_handlers_error():
    class Gone(MemoryIdempotencyStore):
        async def release(self, key, fence):
            raise UnavailableError("away")

    shop = Shop(Gone())

    async def fail(call):
        raise NotFoundError("no such account")

    shop.act = fail
    call = ask()
    heard = hear(call)
    with pytest.raises(NotFoundError):
        await shop.send(call)
    assert heard == [StoreFailed("idempotency", "release", "UnavailableError('away')")]
    with pytest.raises(AbortedError):
        await shop.send(ask())
    await shop.clock.advance(31.0)  # the lease settles it
    shop.act = None
    assert await shop.send(ask()) == "receipt 2"


async def test_nothing_runs_when_the_store_is_away():
    class Away(MemoryIdempotencyStore):
        async def claim(self, *args, **options):
            raise UnavailableError("away")

    shop = Shop(Away())
    with pytest.raises(UnavailableError):
        await shop.send(ask())
    assert shop.runs == 0


async def test_whoever_is_cancelled_while_claiming_leaves_no_claim():
    class Slow(MemoryIdempotencyStore):
        async def claim(self, *args, **options):
            record = await super().claim(*args, **options)
            await shop.clock.sleep(5.0)
            return record

    shop = Shop(Slow())
    first = asyncio.create_task(shop.send(ask()))
    await shop.clock.settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(shop.send(ask()))
    await shop.clock.advance(5.0)
    assert await second == "receipt 1"


class Slow(MemoryIdempotencyStore):
    """A store that takes a second for each of `actions`, before it acts."""

    def __init__(self, clock, *actions):
        super().__init__()
        self.clock, self.actions = clock, actions

    async def reached(self, action):
        if action in self.actions:
            await self.clock.sleep(1.0)

    async def extend(self, *args, **options):
        await self.reached("extend")
        return await super().extend(*args, **options)

    async def complete(self, *args, **options):
        await self.reached("complete")
        return await super().complete(*args, **options)

    async def release(self, *args):
        await self.reached("release")
        await super().release(*args)


@pytest.mark.parametrize("after", [0.0, 0.5, 1.0, 1.5])
async def test_whoever_is_cancelled_once_the_effect_is_there_has_it_kept(after):
    clock = ManualClock()
    shop = Shop(Slow(clock, "extend", "complete"), clock=clock)

    async def act(_call):
        await clock.sleep(10.0)  # a beat begins in the turn in which it ends
        return "done"

    shop.act = act
    first = asyncio.create_task(shop.send(ask()))
    await clock.advance(10.0)
    await clock.advance(after)
    first.cancel()
    await clock.advance(5.0)
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await shop.send(ask()), shop.runs) == ("done", 1)


async def test_whoever_is_cancelled_while_the_key_is_let_go_lets_it_go():
    clock = ManualClock()
    shop = Shop(Slow(clock, "release"), clock=clock)

    async def fail(call):
        raise NotFoundError("no such account")

    shop.act = fail
    first = asyncio.create_task(shop.send(ask()))
    await clock.advance(0.5)
    first.cancel()
    await clock.advance(5.0)
    with pytest.raises(asyncio.CancelledError):
        await first
    shop.act = None
    assert await shop.send(ask()) == "receipt 2"


async def test_a_claim_has_a_stable_id_of_its_key():
    shop = Shop()

    async def fail(call):
        raise UnavailableError("try again")

    shop.act = fail
    for key in ("a", "a", "b"):
        with contextlib.suppress(UnavailableError):
            await shop.send(ask(key=key))
    first, again, other = (claim.id for claim in shop.claims)
    assert first == again != other
    assert uuid.UUID(first).hex == first
    assert current_claim() is None


async def test_a_handler_completes_its_claim_and_a_store_without_transactions_waits_for_its_end():
    shop = Shop()

    async def complete_and_fail(call):
        await current_claim().complete(object(), "too early")
        raise UnavailableError("the commit failed")

    async def complete(call):
        await current_claim().complete(object(), "agreed")
        return "what was agreed is kept, not this"

    shop.act = complete_and_fail
    with pytest.raises(UnavailableError):
        await shop.send(ask())
    shop.act = complete
    assert await shop.send(ask()) == "what was agreed is kept, not this"
    assert await shop.send(ask()) == "agreed"
    assert shop.runs == 2


async def test_whoever_was_taken_over_hears_of_it_when_completing():
    shop, go_on = Shop(), asyncio.Event()

    async def complete(call):
        await go_on.wait()
        await current_claim().complete(object(), "mine")
        raise AssertionError("it completed")

    shop.act = complete
    first = asyncio.create_task(shop.send(ask()))
    await shop.clock.settle()
    shop.clock.jump_wall(31.0)  # the process was stopped, its heartbeats with it
    elsewhere = Shop(shop.store, clock=shop.clock)
    assert await elsewhere.send(ask()) == "receipt 1"
    go_on.set()
    with pytest.raises(LostClaimError, match=r"^another request with .* took over$"):
        await first


def test_by_default_it_needs_a_principal_and_a_door_that_keeps_answers():
    pipeline = Pipeline(Idempotency(MemoryIdempotencyStore(), secret=SECRET))
    assert pipeline.traits == Trait.REPLAYS | Trait.NEEDS_PRINCIPAL
    with pytest.raises(ConfigurationError, match="authentication must come before"):
        pipeline.admit(Doorway("asgi", Kind.SERVER, replays=True))
    with pytest.raises(ConfigurationError, match="stream"):
        pipeline.admit(Doorway("grpc", Kind.SERVER, replays=True, streams=True, principal=True))
    public = Idempotency(MemoryIdempotencyStore(), secret=SECRET, scope=lambda call: "public")
    Pipeline(public).admit(Doorway("asgi", Kind.SERVER, replays=True))


async def test_a_public_operation_must_name_its_scope():
    shop = Shop()
    with pytest.raises(ConfigurationError, match="must name its own scope"):
        await shop.send(ask(subject=None))
    shop = Shop(scope=lambda call: "registrations")
    assert await shop.send(ask(subject=None)) == "receipt 1"
    shop = Shop(scope=lambda call: None)
    with pytest.raises(ConfigurationError, match="idempotency: scope must return a str, not None"):
        await shop.send(ask())


async def test_a_door_without_a_codec_is_refused():
    shop, call = Shop(), ask()
    call.codec = None
    with pytest.raises(ConfigurationError, match="cannot keep answers"):
        await shop.send(call)


async def test_fingerprints_are_keyed_and_a_new_secret_never_runs_an_old_key_twice():
    class Spying(MemoryIdempotencyStore):
        async def claim(self, key, fingerprint, fence, **options):
            seen.append(fingerprint)
            return await super().claim(key, fingerprint, fence, **options)

    seen, store = [], Spying()
    await Shop(store).send(ask())
    rotated = Shop(store, secret=b"another secret of bytes")
    with pytest.raises(InvalidArgumentError, match="different request"):
        await rotated.send(ask())
    assert seen[0] != seen[1]
    assert rotated.runs == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"secret": b"short"}, "secret"),
        ({"secret": "a secret of characters"}, "secret must be bytes"),
        ({"lease": 0}, "^lease must be"),
        ({"retention": -1}, "^retention must be"),
        ({"lease": 60, "retention": 30}, "retention .* lease"),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        Idempotency(MemoryIdempotencyStore(), **({"secret": SECRET} | options))


class Asked(MemoryIdempotencyStore):
    """A store that takes a turn of the loop for each claim, counts them, and can be away once."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.away = False

    async def claim(self, *args, **options):
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            self.away = False
            raise UnavailableError("away")
        return await super().claim(*args, **options)


async def test_a_key_sent_a_hundred_times_at_once_asks_the_store_once():
    shop = Shop(Asked())
    answers = await asyncio.gather(*(shop.send(ask()) for _ in range(100)), return_exceptions=True)
    assert answers.count("receipt 1") == 1
    assert sum(isinstance(answer, AbortedError) for answer in answers) == 99
    assert (shop.runs, shop.store.asked) == (1, 1)


async def test_an_answer_is_replayed_to_all_who_ask_at_once():
    shop = Shop(Asked())
    await shop.send(ask())
    assert await asyncio.gather(*(shop.send(ask()) for _ in range(9))) == ["receipt 1"] * 9
    assert shop.store.asked == 2


async def test_together_with_the_first_another_payload_is_refused_as_such():
    shop = Shop(Asked())
    first, other = await asyncio.gather(
        shop.send(ask()), shop.send(ask(content="20 EUR")), return_exceptions=True
    )
    assert first == "receipt 1"
    assert isinstance(other, InvalidArgumentError)


async def test_when_the_first_learns_nothing_the_next_asks_the_store():
    shop = Shop(Asked())
    shop.store.away = True
    answers = await asyncio.gather(*(shop.send(ask()) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [UnavailableError, str, AbortedError]
    first = asyncio.create_task(shop.send(ask(key="other")))
    second = asyncio.create_task(shop.send(ask(key="other")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "receipt 2"


async def test_who_waits_for_the_first_and_is_cancelled_cancels_nobody_else():
    shop = Shop(Asked())
    first = asyncio.create_task(shop.send(ask()))
    second = asyncio.create_task(shop.send(ask()))
    await asyncio.sleep(0)
    second.cancel()
    assert await first == "receipt 1"


async def test_its_terms_change_while_it_runs():
    shop = Shop(required=False)
    shop.policy.reconfigure(required=True)
    with pytest.raises(InvalidArgumentError, match="needs an idempotency key"):
        await shop.send(ask(key=None))
    shop.policy.reconfigure(lease=5.0, retention=10.0, required=False)
    assert repr(shop.policy) == "Idempotency(lease 5 s, kept 10 s)"
    assert await shop.send(ask()) == "receipt 1"
    await shop.clock.advance(9.0)
    assert await shop.send(ask()) == "receipt 1"
    await shop.clock.advance(2.0)
    assert await shop.send(ask()) == "receipt 2"


def test_what_is_not_given_stays_as_it_is():
    policy = Idempotency(MemoryIdempotencyStore(), secret=SECRET, required=True)
    policy.reconfigure(lease=60.0)
    policy.reconfigure(retention=60.0)
    assert repr(policy) == "Idempotency(lease 60 s, kept 60 s, required)"


def test_wrong_terms_change_nothing():
    policy = Idempotency(MemoryIdempotencyStore(), secret=SECRET, required=True)
    for wrong in ({"lease": 0}, {"retention": float("nan")}, {"lease": 100_000.0}):
        with pytest.raises(ConfigurationError, match=r"lease|retention"):
            policy.reconfigure(required=False, **wrong)
    assert repr(policy) == "Idempotency(lease 30 s, kept 86400 s, required)"
