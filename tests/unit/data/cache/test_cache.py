import asyncio
from datetime import timedelta

import pytest

from prodkit.call import CURRENT, Call
from prodkit.data.cache import Cache, RefreshFailed, StaleServed
from prodkit.errors import (
    Code,
    ConfigurationError,
    NotFoundError,
    OverloadedError,
    UnavailableError,
)
from prodkit.testing import EventRecorder, ManualClock

pytestmark = pytest.mark.anyio


class Source:
    """A loader under the test's hand: each load waits in `loads` for its outcome unless `ready`."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.keys = []
        self.waiting = []
        self.cancelled = 0

    async def __call__(self, key):
        self.keys.append(key)
        if self.answers:
            answer = self.answers.pop(0)
        else:
            future = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            try:
                answer = await future
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock():
    return ManualClock()


def make(clock, **options):
    options = {"ttl": 10.0, "jitter": 0.0, "clock": clock} | options
    return Cache(**options)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


class TestFreshAnswers:
    async def test_are_loaded_once_for_their_ttl(self, clock):
        cache, source = make(clock), Source(1, 2)
        assert await cache.get("a", source) == 1
        await clock.advance(9.999)
        assert await cache.get("a", source) == 1
        await clock.advance(0.001)
        assert await cache.get("a", source) == 2
        assert source.keys == ["a", "a"]
        assert (cache.stats.hits, cache.stats.misses, cache.stats.loads) == (1, 2, 2)

    async def test_are_kept_by_key(self, clock):
        cache, source = make(clock), Source(1, 2)
        assert await cache.get("a", source) == 1
        assert await cache.get("b", source) == 2
        assert len(cache) == 2

    async def test_make_room_in_the_order_of_their_last_use(self, clock):
        cache, source = make(clock, max_size=2), Source(1, 2, 3, 4)
        await cache.get("a", source)
        await cache.get("b", source)
        await cache.get("a", source)
        await cache.get("c", source)
        assert await cache.get("a", source) == 1
        assert await cache.get("b", source) == 4
        assert (cache.stats.evictions, len(cache)) == (2, 2)

    async def test_are_used_by_who_looks_without_loading_too(self, clock):
        cache = make(clock, max_size=2)
        for key in ("a", "b", "a", "c"):
            if cache.fresh(key) is None:
                await cache.put(key, key)
        assert [cache.fresh(key) is None for key in "abc"] == [False, True, False]

    async def test_lose_up_to_the_jitter_by_chance(self, clock):
        chances = iter([0.0, 1.0])
        cache = make(clock, jitter=0.5, random=lambda: next(chances))
        await cache.put("whole", 1)
        await cache.put("half", 2)
        await clock.advance(5.0)
        assert cache.fresh("whole") is not None
        assert cache.fresh("half") is None

    async def test_are_not_made_stale_by_a_jump_of_the_wall_clock(self, clock):
        cache = make(clock)
        await cache.put("a", 1)
        clock.jump_wall(86_400)
        assert await cache.get("a", Source()) == 1

    async def test_are_put_by_hand(self, clock):
        cache = make(clock)
        await cache.put("a", 1)
        assert await cache.get("a", Source()) == 1
        assert cache.stats.loads == 0

    async def test_can_be_none(self, clock):
        cache, source = make(clock), Source(None, None)
        assert await cache.get("a", source) is None
        assert await cache.get("a", source) is None
        assert source.keys == ["a"]


class TestAHerd:
    async def test_on_a_cold_key_loads_once(self, clock):
        cache, source = make(clock), Source()
        herd = [asyncio.create_task(cache.get("a", source)) for _ in range(1000)]
        await turns()
        source.waiting[0].set_result("answer")
        assert await asyncio.gather(*herd) == ["answer"] * 1000
        assert source.keys == ["a"]
        assert (cache.stats.misses, cache.stats.loads) == (1000, 1)

    async def test_outlives_its_leader(self, clock):
        cache, source = make(clock), Source()
        leader = asyncio.create_task(cache.get("a", source))
        await turns()
        herd = [asyncio.create_task(cache.get("a", source)) for _ in range(999)]
        await turns()
        leader.cancel()
        await turns()
        assert leader.cancelled()
        source.waiting[0].set_result("answer")
        assert await asyncio.gather(*herd) == ["answer"] * 999
        assert source.keys == ["a"]

    async def test_is_told_the_error_and_nothing_is_kept(self, clock):
        cache, source = make(clock), Source()
        herd = [asyncio.create_task(cache.get("a", source)) for _ in range(1000)]
        await turns()
        source.waiting[0].set_exception(UnavailableError("away"))
        answers = await asyncio.gather(*herd, return_exceptions=True)
        assert {type(answer) for answer in answers} == {UnavailableError}
        assert (cache.stats.loads, cache.stats.errors, len(cache)) == (1, 1, 0)
        assert await cache.get("a", Source("back")) == "back"

    async def test_that_leaves_ends_the_load_and_awaits_it(self, clock):
        cache, ended, told = make(clock), [], []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        async def load(key):
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(key)

        herd = [asyncio.create_task(cache.get("a", load)) for _ in range(3)]
        await turns()
        for task in herd:
            task.cancel()
        await asyncio.wait(herd)
        assert (ended, told) == (["a"], [])
        assert all(task.cancelled() for task in herd)
        assert await cache.get("a", Source("anew")) == "anew"

    async def test_that_leaves_waits_for_the_end_though_cancelled_again(self, clock):
        cache, go_on, ended = make(clock), asyncio.Event(), []

        async def load(key):
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()
                ended.append(key)

        last = asyncio.create_task(cache.get("a", load))
        await turns()
        last.cancel()
        await turns()
        last.cancel()
        await turns()
        assert not last.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await last
        assert ended == ["a"]

    async def test_that_comes_while_a_load_is_being_given_up_starts_anew(self, clock):
        cache, go_on = make(clock), asyncio.Event()

        async def reluctant(key):
            try:
                await asyncio.Event().wait()
            finally:
                await go_on.wait()

        last = asyncio.create_task(cache.get("a", reluctant))
        await turns()
        last.cancel()
        await turns()
        assert await cache.get("a", Source("anew")) == "anew"
        go_on.set()
        await asyncio.wait([last])
        assert await cache.get("a", Source()) == "anew"

    async def test_is_not_cancelled_by_a_load_that_was(self, clock):
        cache = make(clock)

        async def load(key):
            raise asyncio.CancelledError

        with pytest.raises(UnavailableError, match="cancelled"):
            await cache.get("a", load)

    async def test_hears_of_what_is_no_exception_too(self, clock):
        class EndError(BaseException):
            pass

        async def load(key):
            raise EndError

        cache = make(clock, negative_on=lambda error: True)
        with pytest.raises(EndError):
            await cache.get("a", load)
        assert len(cache) == 0

    async def test_whose_waiter_is_cancelled_as_the_load_ends_is_served(self, clock):
        cache, source = make(clock), Source()
        first = asyncio.create_task(cache.get("a", source))
        second = asyncio.create_task(cache.get("a", source))
        await turns()
        source.waiting[0].set_result(1)
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1
        await asyncio.wait([first])
        assert source.cancelled == 0


class TestALoadThatAsksForItself:
    async def test_is_told_so_and_does_not_wait_for_ever(self, clock):
        cache = make(clock)

        async def load(key):
            return await cache.get(key, load)

        with pytest.raises(RuntimeError, match="the key that it is loading"):
            await cache.get("a", load)

    async def test_by_way_of_another_is_told_so_too(self, clock):
        cache = make(clock)

        async def load(key):
            other = "b" if key == "a" else "a"
            return await asyncio.create_task(cache.get(other, load))

        with pytest.raises(RuntimeError, match="the key that it is loading"):
            await cache.get("a", load)

    async def test_of_another_key_is_served(self, clock):
        cache = make(clock)

        async def load(key):
            return 0 if key == 0 else 1 + await cache.get(key - 1, load)

        assert await cache.get(5, load) == 5
        assert cache.stats.loads == 6


class TestTheContextOfALoad:
    async def test_is_that_of_whoever_asked_first_without_the_deadline(self, clock):
        cache, seen = make(clock), []

        async def load(key):
            seen.append(CURRENT.get())
            return key

        call = Call("op", deadline=5.0, metadata={"a": "b"})
        token = CURRENT.set(call)
        try:
            await cache.get("a", load)
            assert call.deadline == 5.0
            assert CURRENT.get() is call
        finally:
            CURRENT.reset(token)
        assert (seen[0].operation, seen[0].deadline) == ("op", None)


class TestInvalidation:
    async def test_forgets(self, clock):
        cache, source = make(clock), Source(1, 2)
        await cache.get("a", source)
        await cache.invalidate("a")
        assert await cache.get("a", source) == 2

    async def test_during_a_load_keeps_its_value_out(self, clock):
        cache, source = make(clock), Source()
        early = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.invalidate("a")
        late = asyncio.create_task(cache.get("a", source))
        await turns()
        source.waiting[0].set_result("old")
        assert await early == "old"
        assert len(cache) == 0
        source.waiting[1].set_result("new")
        assert await late == "new"
        assert await cache.get("a", Source()) == "new"

    async def test_by_put_during_a_load_keeps_what_was_put(self, clock):
        cache, source = make(clock), Source()
        early = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.put("a", "put")
        source.waiting[0].set_result("old")
        assert await early == "old"
        assert await cache.get("a", Source()) == "put"

    async def test_by_clear_is_of_everything(self, clock):
        cache, source = make(clock, negative_on=NotFoundError), Source(1, NotFoundError("b"))
        await cache.get("a", source)
        with pytest.raises(NotFoundError):
            await cache.get("b", source)
        under_way = asyncio.create_task(cache.get("c", source))
        await turns()
        cache.clear()
        source.waiting[0].set_result("old")
        assert await under_way == "old"
        assert len(cache) == 0

    async def test_forgets_a_kept_error_too(self, clock):
        cache = make(clock, negative_on=NotFoundError)
        with pytest.raises(NotFoundError):
            await cache.get("a", Source(NotFoundError("gone")))
        await cache.invalidate("a")
        assert await cache.get("a", Source("created")) == "created"

    async def test_of_a_key_that_is_not_there_is_harmless(self, clock):
        await make(clock).invalidate("a")


class TestNegativeAnswers:
    async def test_none_has_a_ttl_of_its_own(self, clock):
        cache, source = make(clock, negative_ttl=1.0), Source(None, "created")
        assert await cache.get("a", source) is None
        await clock.advance(0.9)
        assert await cache.get("a", source) is None
        await clock.advance(0.1)
        assert await cache.get("a", source) == "created"

    async def test_none_is_never_kept_longer_than_others(self, clock):
        cache, source = make(clock, ttl=1.0, negative_ttl=5.0), Source(None, "created")
        await cache.get("a", source)
        await clock.advance(1.0)
        assert await cache.get("a", source) == "created"

    @pytest.mark.parametrize(
        "on",
        [NotFoundError, (KeyError, NotFoundError), lambda error: isinstance(error, NotFoundError)],
        ids=["type", "types", "predicate"],
    )
    async def test_errors_that_are_answers_are_kept(self, clock, on):
        cache = make(clock, negative_ttl=1.0, negative_on=on)
        source = Source(NotFoundError("gone"), "created")
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await cache.get("a", source)
        assert (source.keys, cache.stats.hits, len(cache)) == (["a"], 1, 1)
        await clock.advance(1.0)
        assert await cache.get("a", source) == "created"
        assert len(cache) == 1

    async def test_other_errors_are_not_kept(self, clock):
        cache = make(clock, negative_on=NotFoundError)
        source = Source(ValueError("odd"), "answer")
        with pytest.raises(ValueError):
            await cache.get("a", source)
        assert await cache.get("a", source) == "answer"

    async def test_an_error_takes_the_place_of_the_old_answer(self, clock):
        cache = make(clock, negative_on=NotFoundError, stale_if_error=100.0)
        source = Source("there", NotFoundError("gone"))
        await cache.get("a", source)
        await clock.advance(10.0)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await cache.get("a", source)
        assert len(cache) == 1

    async def test_kept_errors_are_bounded(self, clock):
        cache = make(clock, negative_on=NotFoundError, max_size=2)
        for key in "abc":
            with pytest.raises(NotFoundError):
                await cache.get(key, Source(NotFoundError(key)))
        assert (len(cache), cache.stats.evictions) == (2, 1)

    async def test_kept_errors_make_room_in_the_order_of_their_last_use(self, clock):
        cache = make(clock, negative_on=NotFoundError, max_size=2)
        keys = []

        async def load(key):
            keys.append(key)
            raise NotFoundError(key)

        async def ask(*asked):
            for key in asked:
                with pytest.raises(NotFoundError):
                    await cache.get(key, load)

        await ask("a", "b")
        await clock.advance(10.0)
        await ask("a", "c")
        keys.clear()
        await ask("a", "c")
        assert keys == []
        await ask("d", "c")
        assert keys == ["d"]


class TestStaleWhileRevalidate:
    async def test_gives_the_old_answer_and_loads_once(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        assert [await cache.get("a", source) for _ in range(100)] == ["old"] * 100
        await turns()
        assert source.keys == ["a", "a"]
        source.waiting[0].set_result("new")
        await turns()
        assert await cache.get("a", source) == "new"
        assert not any(timer.run() for _, _, timer in clock._timers)
        stats = cache.stats
        assert (stats.stale, stats.hits, stats.misses, stats.loads) == (100, 1, 1, 2)

    async def test_ends_with_its_window(self, clock):
        cache, source = make(clock, stale=5.0), Source("old", "new")
        await cache.get("a", source)
        await clock.advance(15.0)
        assert await cache.get("a", source) == "new"
        assert cache.stats.stale == 0

    async def test_does_not_hold_for_none(self, clock):
        cache, source = make(clock, stale=5.0), Source(None, "created")
        await cache.get("a", source)
        await clock.advance(10.0)
        assert await cache.get("a", source) == "created"

    async def test_tells_the_listener_of_failures(self, clock):
        heard = []
        cache = make(clock, stale=5.0, name="products", listener=lambda *told: heard.append(told))
        source, error = Source("old"), UnavailableError("away")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        await turns()
        source.waiting[0].set_exception(error)
        await turns()
        assert heard == [(RefreshFailed("cache products", Code.UNAVAILABLE), "a", error)]
        assert await cache.get("a", source) == "old"
        await cache.aclose()

    async def test_tells_the_call_of_failures(self, clock):
        cache, recorder, call = make(clock, stale=5.0), EventRecorder(), Call("op")
        call.subscribe(recorder.listen)
        await cache.get("a", Source("old"))
        await clock.advance(10.0)
        token = CURRENT.set(call)
        await cache.get("a", Source(KeyError("odd")))
        CURRENT.reset(token)
        await turns()
        assert recorder.events == [RefreshFailed("cache cache", Code.UNKNOWN)]

    async def test_tells_the_event_loop_of_failures_that_nobody_hears_of(self, clock):
        told, error = [], UnavailableError("away")
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        cache = make(clock, stale=5.0)
        await cache.get("a", Source("old"))
        await clock.advance(10.0)
        token = CURRENT.set(Call("nobody listens"))
        await cache.get("a", Source(error))
        CURRENT.reset(token)
        await turns()
        assert [context["exception"] for context in told] == [error]

    async def test_gives_a_refresh_up_that_takes_longer_than_the_window(self, clock):
        heard = []
        cache = make(clock, stale=5.0, listener=lambda event, key, error: heard.append(error))
        source = Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        await clock.advance(5.0)
        assert source.cancelled == 1
        assert [type(error) for error in heard] == [TimeoutError]
        assert await cache.get("a", Source("new")) == "new"

    async def test_leaves_a_refresh_to_those_who_wait_for_it(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(14.0)
        assert await cache.get("a", source) == "old"
        await clock.advance(1.0)
        waiting = asyncio.create_task(cache.get("a", source))
        await clock.advance(10.0)
        assert source.cancelled == 0
        source.waiting[0].set_result("new")
        assert await waiting == "new"

    async def test_is_done_with_a_key_that_is_invalidated(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        await turns()
        await cache.invalidate("a")
        await turns()
        assert source.cancelled == 1
        assert await cache.get("a", Source("new")) == "new"

    async def test_tells_of_a_detached_refresh_that_fails_for_its_waiters_too(self, clock):
        heard = []
        cache = make(clock, stale=5.0, listener=lambda event, key, error: heard.append(error))
        source = Source("old")
        await cache.get("a", source)
        await clock.advance(14.0)
        await cache.get("a", source)
        await clock.advance(1.0)
        waiting = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.invalidate("a")
        source.waiting[0].set_exception(error := UnavailableError("away"))
        with pytest.raises(UnavailableError):
            await waiting
        assert heard == [error]


class TestStaleIfError:
    async def test_gives_the_old_answer_in_place_of_a_failure(self, clock):
        heard = []
        cache = make(clock, stale_if_error=60.0, listener=lambda *told: heard.append(told))
        await cache.get("a", Source("old"))
        await clock.advance(30.0)
        error = UnavailableError("away")
        assert await cache.get("a", Source(error)) == "old"
        assert heard == [(StaleServed("cache cache", Code.UNAVAILABLE), "a", error)]
        stats = cache.stats
        assert (stats.misses, stats.stale_on_error, stats.errors) == (2, 1, 1)

    async def test_gives_it_whatever_becomes_of_the_listener(self, clock, caplog):
        def listener(*_told):
            raise OSError("no exporter")

        cache = make(clock, stale_if_error=60.0, listener=listener)
        await cache.get("a", Source("old"))
        await clock.advance(30.0)
        assert await cache.get("a", Source(UnavailableError("away"))) == "old"
        assert "no exporter" in caplog.text

    async def test_counts_rejections_as_failures(self, clock):
        cache = make(clock, stale_if_error=60.0)
        await cache.get("a", Source("old"))
        await clock.advance(30.0)
        refusal = OverloadedError(
            "full", call=Call("op"), policy="p", measured=1, threshold=1, code=Code.ABORTED
        )
        assert await cache.get("a", Source(refusal)) == "old"

    async def test_ends_with_its_window(self, clock):
        cache = make(clock, stale_if_error=60.0)
        await cache.get("a", Source("old"))
        await clock.advance(70.0)
        with pytest.raises(UnavailableError):
            await cache.get("a", Source(UnavailableError("away")))

    async def test_hides_no_answer(self, clock):
        cache = make(clock, stale_if_error=60.0)
        await cache.get("a", Source("old"))
        await clock.advance(30.0)
        with pytest.raises(NotFoundError):
            await cache.get("a", Source(NotFoundError("gone")))

    async def test_gives_nothing_that_was_invalidated_meanwhile(self, clock):
        cache, source = make(clock, stale_if_error=60.0), Source("old")
        await cache.get("a", source)
        await clock.advance(30.0)
        waiting = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.invalidate("a")
        source.waiting[0].set_exception(UnavailableError("away"))
        with pytest.raises(UnavailableError):
            await waiting


class TestClosing:
    async def test_ends_refreshes_and_awaits_them(self, clock):
        before = asyncio.all_tasks()
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        await turns()
        refresh = next(iter(asyncio.all_tasks() - before))
        await cache.aclose()
        assert source.cancelled == 1
        assert refresh.done()
        await cache.aclose()

    async def test_leaves_loads_to_their_callers_and_starts_no_refresh(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.aclose()
        waiting = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.aclose()
        source.waiting[0].set_result("new")
        assert await waiting == "new"
        assert cache.stats.stale == 0

    async def test_leaves_a_refresh_to_those_who_wait_for_it(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(14.0)
        await cache.get("a", source)
        await clock.advance(1.0)
        waiting = asyncio.create_task(cache.get("a", source))
        await turns()
        await cache.aclose()
        source.waiting[0].set_result("new")
        assert await waiting == "new"

    async def test_as_a_component_gives_refreshes_their_grace(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.start()
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        stopping = asyncio.create_task(cache.stop(5.0))
        await turns()
        assert not stopping.done()
        source.waiting[0].set_result("new")
        await stopping
        assert cache.fresh("a") is not None
        await cache.stop(5.0)

    async def test_as_a_component_ends_refreshes_that_take_longer(self, clock):
        cache, source = make(clock, stale=5.0), Source("old")
        await cache.get("a", source)
        await clock.advance(10.0)
        await cache.get("a", source)
        await cache.stop(0.0)
        assert source.cancelled == 1

    async def test_is_undone_by_start(self, clock):
        cache, source = make(clock, stale=5.0), Source("old", "new")
        await cache.get("a", source)
        await cache.stop(0.0)
        await cache.start()
        await clock.advance(10.0)
        assert await cache.get("a", source) == "old"
        await turns()
        assert await cache.get("a", source) == "new"

    async def test_at_the_end_of_a_with_block(self, clock):
        source = Source("old")
        async with make(clock, stale=5.0) as cache:
            await cache.get("a", source)
            await clock.advance(10.0)
            await cache.get("a", source)
            await turns()
        assert source.cancelled == 1


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ttl": 0}, "ttl must be a positive number"),
            ({"ttl": True}, "ttl must be a positive number"),
            ({"ttl": float("nan")}, "ttl must be a positive number"),
            ({"negative_ttl": -1}, "negative_ttl must be a positive number"),
            ({"stale": -1.0}, "stale must be a number of seconds, 0 for none, not -1.0"),
            ({"stale": float("inf")}, "stale must be"),
            ({"stale": float("nan")}, "stale must be"),
            ({"stale": True}, "stale must be"),
            ({"stale_if_error": "1"}, "stale_if_error must be"),
            ({"jitter": 1.0}, "jitter must be at least 0 and below 1, not 1.0"),
            ({"jitter": -0.1}, "jitter must be"),
            ({"jitter": False}, "jitter must be"),
            ({"jitter": "much"}, "jitter must be"),
            ({"jitter": float("nan")}, "jitter must be"),
            ({"max_size": 0}, "max_size must be a whole number of at least 1, not 0"),
            ({"max_size": True}, "max_size must be"),
            ({"max_size": 1.5}, "max_size must be"),
            ({"negative_on": 404}, "negative_on must be an exception type"),
            ({"negative_on": asyncio.CancelledError}, "negative_on must be"),
            ({"negative_on": (KeyError, "x")}, "negative_on must be"),
        ],
    )
    def test_that_cannot_be_are_named(self, options, message):
        with pytest.raises(ConfigurationError, match=message):
            Cache(**{"ttl": 1.0} | options)

    async def test_change_while_running(self, clock):
        cache = make(clock)
        for key in "abc":
            await cache.put(key, key)
        cache.reconfigure(
            ttl=timedelta(seconds=1),
            max_size=2,
            negative_ttl=0.5,
            stale=3,
            stale_if_error=timedelta(seconds=4),
            jitter=0.25,
        )
        assert repr(cache) == "Cache('cache', ttl 1 s, stale 3 s, stale if error 4 s, 2 at most)"
        assert len(cache) == 2
        await clock.advance(9.0)
        assert cache.fresh("c") is not None
        cache.reconfigure()
        assert repr(cache) == "Cache('cache', ttl 1 s, stale 3 s, stale if error 4 s, 2 at most)"

    async def test_change_all_or_not_at_all(self, clock):
        cache = make(clock)
        for wrong in ({"stale": -1}, {"max_size": 0}):
            with pytest.raises(ConfigurationError):
                cache.reconfigure(**{"ttl": 1.0, "max_size": 1} | wrong)
        assert repr(cache) == "Cache('cache', ttl 10 s, 10000 at most)"
