import asyncio

import pytest

from prodkit import Pipeline
from prodkit.clock import SystemClock
from prodkit.errors import (
    Code,
    ConfigurationError,
    RateLimitedError,
    RejectedError,
    UnavailableError,
)
from prodkit.policies.rate_limiter import (
    MemoryRateLimitStore,
    Rate,
    RateDelayed,
    RateLimiter,
    RateStoreFailed,
)

pytestmark = pytest.mark.anyio


class FarStore(MemoryRateLimitStore):
    """A store over a network that can fail, hang, and be slow."""

    def __init__(self):
        super().__init__()
        self.error = None
        self.hangs = False
        self.asked = 0
        self.cancelled = 0

    async def take(self, *question):
        await self.reach()
        return await super().take(*question)

    async def give_back(self, *turn):
        await self.reach()
        await super().give_back(*turn)

    async def reach(self):
        self.asked += 1
        try:
            await (asyncio.Event().wait() if self.hangs else asyncio.sleep(0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error


@pytest.fixture
def store():
    return FarStore()


@pytest.fixture
def limited(clock, store):
    async def served(call):
        return "done"

    def make(*rates, **options):
        limiter = RateLimiter(*rates or [Rate(3, per=60)], clock=clock, store=store, **options)
        return Pipeline(limiter).bind(served)

    return make


async def admitted(handler, ask, calls=10):
    count = 0
    for _ in range(calls):
        try:
            await handler(ask())
        except RateLimitedError:
            continue
        count += 1
    return count


async def test_who_gives_up_waiting_gives_the_turn_back_there(limited, store, clock, ask):
    handler = limited(Rate(1, per=1), max_wait=9, cost=lambda call: 1)
    await handler(ask())
    task = asyncio.create_task(handler(ask()))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    call = ask()
    next_one = asyncio.create_task(handler(call))
    await clock.settle()
    assert call.payload == [RateDelayed("rate_limiter default", 1.0)]
    await clock.advance(1.0)
    assert await next_one == "done"


AWAY = [UnavailableError("no route"), ConnectionResetError("reset"), TimeoutError()]


async def test_a_store_that_works_is_the_one_that_counts(limited, store, ask):
    one, two = limited(), limited()
    assert await admitted(one, ask) + await admitted(two, ask) == 3
    assert store.asked == 20


async def test_many_may_ask_one_that_works_at_once(limited, store, ask):
    handler = limited(Rate(100))
    await handler(ask())
    await asyncio.gather(*(handler(ask()) for _ in range(5)))
    assert store.asked == 6


@pytest.mark.parametrize("error", AWAY)
async def test_open_lets_calls_through_uncounted(limited, store, ask, error):
    handler, store.error = limited(on_store_failure="open"), error
    assert await admitted(handler, ask) == 10
    call = ask()
    await handler(call)
    [failed] = call.payload
    assert failed == RateStoreFailed("rate_limiter default", "open", str(error) or "TimeoutError")
    assert failed.level == "warning"
    assert call.reply["ratelimit"] == '"default";r=3;t=0'
    store.error = None
    assert await admitted(handler, ask) == 3


@pytest.mark.parametrize("error", AWAY)
async def test_closed_refuses_with_unavailable_and_says_when_to_come_back(
    limited, store, ask, error
):
    handler, store.error = limited(on_store_failure="closed"), error
    call = ask()
    with pytest.raises(RejectedError) as refused:
        await handler(call)
    reason = refused.value
    assert (reason.code, reason.reason) == (Code.UNAVAILABLE, "RATE_LIMIT_STORE_UNAVAILABLE")
    assert reason.refuses(call)
    assert str(reason) == "nobody can say whether the rate is kept: its store is away"
    assert (reason.policy, reason.measured, reason.threshold) == ("rate_limiter default", 0, 0.1)
    assert reason.retry_after == 1.0
    assert [type(event) for event in call.payload] == [RateStoreFailed]
    store.error = None
    assert await handler(ask()) == "done"


@pytest.mark.parametrize("error", AWAY)
async def test_local_counts_in_this_process_and_never_admits_more_than_the_rate(
    limited, store, ask, error
):
    handler, store.error = limited(Rate(3, per=60), Rate(2, per=1)), error
    assert await admitted(handler, ask) == 2
    call = ask()
    with pytest.raises(RateLimitedError):
        await handler(call)
    assert call.payload[0].treatment == "local"
    assert call.reply["ratelimit"].startswith('"default-60s";r=1;')


async def test_routes_choose_for_themselves_and_a_hanging_store_holds_none_of_them(
    limited, store, clock, ask
):
    store.hangs = True
    routes = [limited(name=how, on_store_failure=how) for how in ("open", "closed", "local")]
    tasks = [asyncio.create_task(handler(ask())) for handler in routes]
    await clock.advance(0.099)
    assert not any(task.done() for task in tasks)
    await clock.advance(0.001)
    assert all(task.done() for task in tasks)
    assert (tasks[0].result(), tasks[2].result()) == ("done", "done")
    assert tasks[1].exception().measured == pytest.approx(0.1)
    assert store.cancelled == 3


async def test_of_a_crowd_one_call_at_a_time_asks_a_store_that_is_away(limited, store, clock, ask):
    handler, store.hangs = limited(on_store_failure="open"), True
    first = asyncio.create_task(handler(ask()))
    await clock.advance(0.1)
    await first
    store.asked = 0
    calls = [ask() for _ in range(50)]
    crowd = [asyncio.create_task(handler(call)) for call in calls]
    await clock.settle()
    assert (store.asked, sum(task.done() for task in crowd)) == (1, 49)
    [told] = calls[-1].payload
    assert told.error == "the store was away a moment ago, and another call asks it"
    store.hangs = False
    await clock.advance(0.1)
    await asyncio.gather(*crowd)
    assert await admitted(handler, ask) <= 3
    assert store.asked > 2


async def test_one_that_came_back_may_be_waited_for_at_once(limited, store, clock, ask):
    handler = limited(Rate(1, per=1), max_wait=5)
    await handler(ask())
    store.error = UnavailableError("gone")
    await handler(ask())  # counted here
    store.error, calls = None, [ask(), ask()]
    tasks = []
    for call in calls:
        tasks.append(asyncio.create_task(handler(call)))
        await clock.settle()
    assert [call.payload[0].delay for call in calls] == [1.0, 2.0]
    await clock.advance(2.0)
    assert await asyncio.gather(*tasks) == ["done", "done"]


async def test_a_fault_of_the_store_is_a_fault(limited, store, ask):
    handler, store.error = limited(on_store_failure="open"), KeyError("bug")
    with pytest.raises(KeyError):
        await handler(ask())


async def test_a_cancelled_call_is_not_a_store_that_failed(limited, store, clock, ask):
    handler, store.hangs = limited(on_store_failure="open"), True
    task = asyncio.create_task(handler(ask()))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.hangs = False
    crowd = [asyncio.create_task(handler(ask())) for _ in range(3)]
    await clock.settle()
    await asyncio.gather(*crowd)
    assert store.asked == 4


@pytest.mark.parametrize("broken", ["hangs", "error"])
async def test_a_turn_that_cannot_be_given_back_holds_nobody(limited, store, clock, ask, broken):
    handler = limited(Rate(1, per=1), max_wait=5)
    await handler(ask())
    call = ask()
    task = asyncio.create_task(handler(call))
    await clock.settle()
    assert call.payload == [RateDelayed("rate_limiter default", 1.0)]
    setattr(store, broken, UnavailableError("gone") if broken == "error" else True)
    task.cancel()
    await clock.advance(0.1)
    assert task.cancelled()
    again = asyncio.create_task(handler(ask()))  # the store is away: counted here
    await clock.advance(0.1)
    assert await again == "done"
    setattr(store, broken, None)


async def test_nothing_is_given_back_to_a_store_that_is_away(limited, store, clock, ask):
    handler = limited(Rate(1, per=1), max_wait=5)
    store.error = UnavailableError("gone")
    await handler(ask())
    task = asyncio.create_task(handler(ask()))
    await clock.settle()
    store.asked = 0
    task.cancel()
    await clock.settle()
    assert (task.cancelled(), store.asked) == (True, 0)


class Late(SystemClock):
    """A clock whose timers run when the test says so, and a store that is answered likewise."""

    def __init__(self, answers):
        self.timers = []
        self.answers = [asyncio.get_running_loop().create_future() for _ in range(answers)]

    def call_later(self, seconds, callback):
        self.timers.append(callback)
        return self

    def cancel(self):
        pass

    async def give_back(self, *_):
        pass

    async def take(self, key, limits, cost, now, patience):
        for answer in self.answers:
            await answer
        return (now, 0, 1)


@pytest.mark.parametrize(("answers", "outcome"), [(1, "done"), (2, RejectedError)])
async def test_an_answer_that_came_while_the_loop_was_late_is_an_answer(
    clock, ask, answers, outcome
):
    async def served(call):
        return "done"

    late = Late(answers)
    limiter = RateLimiter(Rate(1), store=late, on_store_failure="closed", clock=late)
    task = asyncio.create_task(Pipeline(limiter).bind(served)(ask()))
    await clock.settle()
    late.answers[0].set_result(None)
    late.timers[0]()
    [result] = await asyncio.gather(task, return_exceptions=True)
    assert result == outcome or type(result) is outcome
    assert task.cancelling() == 0


async def test_who_is_cancelled_while_the_store_tidies_up_after_a_time_out_is_cancelled(
    limited, store, clock, ask
):
    async def tidy(*question):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    store.take = tidy
    task = asyncio.create_task(limited(on_store_failure="open")(ask()))
    await clock.advance(0.1)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Immediate(MemoryRateLimitStore):
    """A store of somebody's own that never suspends."""

    async def take(self, *question):
        return await super().take(*question)


async def test_a_store_that_never_suspends_needs_no_timer(clock, ask):
    async def served(call):
        return "done"

    def no_timer(seconds, callback):
        raise AssertionError("a timer")

    clock.call_later = no_timer
    limiter = RateLimiter(Rate(1), store=Immediate(), clock=clock)
    assert await Pipeline(limiter).bind(served)(ask()) == "done"


class Punctual(FarStore):
    """A store that says how long it takes to answer or fail."""

    def __init__(self, answers_within):
        super().__init__()
        self.answers_within = answers_within


@pytest.mark.parametrize(("answers_within", "timers"), [(0.1, 0), (0.2, 1)])
async def test_a_store_that_answers_in_time_by_itself_needs_no_timer(
    clock, ask, answers_within, timers
):
    async def served(call):
        return "done"

    set_up, call_later = [], clock.call_later
    clock.call_later = lambda *timer: set_up.append(timer) or call_later(*timer)
    store = Punctual(answers_within)
    limiter = RateLimiter(Rate(3), store=store, on_store_failure="open", clock=clock)
    handler = Pipeline(limiter).bind(served)
    assert await handler(ask()) == "done"
    assert len(set_up) == timers
    store.error = UnavailableError("no answer in 0.1 s")
    assert await handler(call := ask()) == "done"
    assert [type(event) for event in call.payload] == [RateStoreFailed]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"on_store_failure": "ignore"}, "on_store_failure must be one of"),
        ({"store_timeout": 0}, "store_timeout"),
        ({"store_timeout": float("nan")}, "store_timeout"),
        ({"store_timeout": True}, "store_timeout"),
    ],
)
def test_options_that_cannot_be_are_refused_by_name(options, named):
    with pytest.raises(ConfigurationError, match=named):
        RateLimiter(Rate(1), **options)
