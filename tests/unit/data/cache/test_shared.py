import asyncio
import json

import pytest

from prodkit.data.cache import Cache, Shared, SharedTierError, SharedTierFailed
from prodkit.errors import Code, ConfigurationError, UnavailableError
from prodkit.stores.memory import MemoryCacheStore
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


def dumps(value):
    return json.dumps(value).encode()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock):
    return MemoryCacheStore(clock=clock)


class Broken:
    """A store whose methods in `faults` raise, or hang until `mend`."""

    def __init__(self, store, **faults):
        self.store = store
        self.faults = faults
        self.asked = []

    def __getattr__(self, name):
        async def ask(*args, **kwargs):
            self.asked.append(name)
            fault = self.faults.get(name)
            if fault == "hang":
                await asyncio.Event().wait()
            if fault is not None:
                raise fault
            return await getattr(self.store, name)(*args, **kwargs)

        return ask


class Process:
    """A cache as one of several processes has it, and what it loaded and heard."""

    def __init__(self, store, clock, **shared):
        self.loads = []
        self.heard = []
        self.value = "value"
        self.gate = None
        options = {"namespace": "v1", "dumps": dumps, "loads": json.loads, "ttl": 100.0}
        self.cache = Cache(
            ttl=10.0,
            jitter=0.0,
            negative_ttl=5.0,
            clock=clock,
            shared=Shared(store, clock=clock, **options | shared),
            listener=lambda event, key, error: self.heard.append((event, key, error)),
        )

    async def load(self, key):
        self.loads.append(key)
        value = self.value
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(value, Exception):
            raise value
        return value

    def get(self, key="a"):
        return self.cache.get(key, self.load)

    def start(self, key="a"):
        return asyncio.create_task(self.get(key))


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


class TestTwoProcesses:
    async def test_share_what_one_of_them_loaded(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        assert [await one.get(), await two.get()] == ["value"] * 2
        assert (one.loads, two.loads) == (["a"], [])
        assert (one.cache.stats.shared_hits, two.cache.stats.shared_hits) == (0, 1)
        assert await store.get("v1:a") == (b'\x01"value"', 100.0)

    async def test_look_at_the_second_tier_when_the_first_has_expired(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        await one.get()
        two.value = "newer"
        await two.cache.put("a", "newer")
        assert await one.get() == "value"
        await clock.advance(10.0)
        assert await one.get() == "newer"
        assert one.loads == ["a"]

    async def test_keep_nothing_beyond_the_ttl_of_the_second_tier(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        await one.get()
        await clock.advance(95.0)
        await two.get()
        two.value = "newer"
        await clock.advance(5.0)
        assert await two.get() == "newer"

    async def test_load_once_between_them(self, store, clock):
        processes = [Process(store, clock) for _ in range(10)]
        gate = asyncio.Event()
        for process in processes:
            process.gate = gate
        herd = [process.start() for process in processes for _ in range(100)]
        await turns()
        gate.set()
        await clock.advance(0.1)
        assert await asyncio.gather(*herd) == ["value"] * 1000
        assert sum(len(process.loads) for process in processes) == 1

    async def test_load_each_for_itself_without_a_lease(self, store, clock):
        one, two = (Process(store, clock, lease=None) for _ in range(2))
        one.gate = two.gate = asyncio.Event()
        herd = [one.start(), two.start()]
        await turns()
        one.gate.set()
        await asyncio.gather(*herd)
        assert (one.loads, two.loads) == (["a"], ["a"])

    async def test_hear_of_a_failed_load_without_a_lease_too(self, store, clock):
        one = Process(store, clock, lease=None)
        one.value = KeyError("odd")
        with pytest.raises(KeyError):
            await one.get()
        assert await store.get("v1:a") is None

    async def test_take_over_from_a_load_that_failed(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        one.value, one.gate = UnavailableError("away"), asyncio.Event()
        failing = one.start()
        await turns()
        waiting = two.start()
        await turns()
        assert two.loads == []
        one.gate.set()
        with pytest.raises(UnavailableError, match="away"):
            await failing
        await clock.advance(0.05)
        assert await waiting == "value"
        assert two.loads == ["a"]

    async def test_take_over_from_a_load_that_was_cancelled(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        one.gate = asyncio.Event()
        leaving = one.start()
        await turns()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert await two.get() == "value"

    @pytest.mark.parametrize("action", ["acquire", "set", "release"])
    @pytest.mark.parametrize("late", [False, True])
    async def test_do_not_wait_for_one_cancelled_while_it_asks(self, store, clock, action, late):
        class Slow(Broken):
            """It takes a moment, and acts at once or after it."""

            def __getattr__(self, name):
                ask = getattr(store, name)

                async def slowly(*args, **kwargs):
                    if name != action:
                        return await ask(*args, **kwargs)
                    if late:
                        await clock.sleep(0.1)
                        return await ask(*args, **kwargs)
                    answer = await ask(*args, **kwargs)
                    await clock.sleep(0.1)
                    return answer

                return slowly

        one, two = Process(Slow(store), clock), Process(store, clock)
        if action == "release":
            one.value = UnavailableError("away")
        leaving = one.start()
        await turns()
        leaving.cancel()
        await clock.advance(0.1)
        with pytest.raises(asyncio.CancelledError):
            await leaving
        asking = two.start()
        await clock.advance(0.05)
        assert asking.done()
        assert await asking == "value"
        assert two.loads == ([] if action == "set" else ["a"])

    async def test_take_over_from_a_process_that_died(self, store, clock):
        await store.acquire("v1:a", "the dead", ttl=3.0)
        two = Process(store, clock)
        waiting = two.start()
        await clock.advance(2.9)
        assert two.loads == []
        await clock.advance(0.2)
        assert await waiting == "value"
        assert await store.get("v1:a") is not None

    async def test_wait_for_another_s_load_no_longer_than_a_lease(self, store, clock):
        await store.acquire("v1:a", "the slow", ttl=1000.0)
        two = Process(store, clock)
        waiting = two.start()
        await clock.advance(4.9)
        assert two.loads == []
        await clock.advance(0.2)
        assert await waiting == "value"
        assert await store.get("v1:a") is None

    async def test_share_that_there_is_nothing(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        one.value = None
        assert [await one.get(), await two.get()] == [None, None]
        assert two.loads == []
        await clock.advance(5.0)
        assert await two.get() == "value"


class TestInvalidation:
    async def test_reaches_the_second_tier(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        await one.get()
        await one.cache.invalidate("a")
        await two.get()
        assert two.loads == ["a"]

    async def test_refuses_what_another_process_loaded_before_it(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        one.value, one.gate = "old", asyncio.Event()
        loading = one.start()
        await turns()
        await two.cache.invalidate("a")
        one.gate.set()
        assert await loading == "old"
        assert await two.get() == "value"

    async def test_keeps_out_what_was_read_while_the_second_tier_was_told(self, store, clock):
        one = Process(store, clock)
        await one.get()
        told = asyncio.Event()
        delete = store.delete

        class Slow(Broken):
            async def delete(self, key):
                await told.wait()
                await delete(key)

        one.cache._shared._store = Slow(store)
        one.value = "new"
        invalidation = asyncio.create_task(one.cache.invalidate("a"))
        await turns()
        assert await one.get() == "value"
        told.set()
        await invalidation
        assert await one.get() == "new"

    async def test_that_the_second_tier_did_not_hear_is_an_error(self, store, clock):
        one = Process(Broken(store, delete=ConnectionError("reset")), clock)
        await one.get()
        with pytest.raises(SharedTierError, match="failed to delete") as caught:
            await one.cache.invalidate("a")
        assert caught.value.code is Code.UNAVAILABLE
        assert isinstance(caught.value.__cause__, ConnectionError)
        assert len(one.cache) == 0

    async def test_by_put_refuses_what_another_process_loaded_before_it(self, store, clock):
        one, two = Process(store, clock), Process(store, clock)
        one.value, one.gate = "old", asyncio.Event()
        loading = one.start()
        await turns()
        await two.cache.put("a", "put")
        one.gate.set()
        await loading
        assert await store.get("v1:a") == (b'\x01"put"', 100.0)

    async def test_by_put_keeps_out_what_was_read_while_it_was_told(self, store, clock):
        one = Process(store, clock)
        await store.set("v1:a", b'\x01"old"', ttl=50.0)
        told, read = asyncio.Event(), asyncio.Event()

        class Slow(Broken):
            async def set(self, *args, **kwargs):
                await told.wait()
                return await store.set(*args, **kwargs)

            async def get(self, key):
                found = await store.get(key)
                await read.wait()
                return found

        one.cache._shared._store = Slow(store)
        putting = asyncio.create_task(one.cache.put("a", "put"))
        await turns()
        reading = one.start()
        await turns()
        told.set()
        await putting
        read.set()
        assert await reading == "old"
        assert await one.get() == "put"

    async def test_by_put_that_failed_keeps_nothing(self, store, clock):
        one = Process(Broken(store, set=ConnectionError("reset")), clock)
        with pytest.raises(SharedTierError, match="failed to set"):
            await one.cache.put("a", "put")
        assert len(one.cache) == 0
        with pytest.raises(SharedTierError, match="failed to encode"):
            await one.cache.put("a", object())

    async def test_by_clear_leaves_the_second_tier(self, store, clock):
        one = Process(store, clock)
        await one.get()
        one.cache.clear()
        assert await one.get() == "value"
        assert one.loads == ["a"]


class TestABrokenStore:
    @pytest.mark.parametrize("operation", ["get", "acquire", "set"])
    async def test_that_fails_is_done_without_and_told_of(self, store, clock, operation):
        one = Process(Broken(store, **{operation: (error := ConnectionError("reset"))}), clock)
        assert await one.get() == "value"
        event = SharedTierFailed("cache cache", operation, Code.UNAVAILABLE)
        assert one.heard == [(event, "a", error)]
        assert one.cache.stats.shared_errors == 1
        assert await one.get() == "value"
        assert one.loads == ["a"]

    @pytest.mark.parametrize("operation", ["get", "acquire", "set"])
    async def test_that_hangs_is_done_without_after_its_timeout(self, store, clock, operation):
        one = Process(Broken(store, **{operation: "hang"}), clock, timeout=0.5)
        waiting = one.start()
        await clock.advance(0.499)
        assert not waiting.done()
        await clock.advance(0.001)
        assert await waiting == "value"
        (event, _, error) = one.heard[0]
        assert event == SharedTierFailed("cache cache", operation, Code.DEADLINE_EXCEEDED)
        assert str(error) == "no answer within 0.5 s"

    async def test_is_asked_no_further_for_the_same_load(self, store, clock):
        broken = Broken(store, get=ConnectionError("reset"))
        await Process(broken, clock).get()
        assert broken.asked == ["get"]

    async def test_that_cannot_release_hides_no_error_of_the_load(self, store, clock):
        one = Process(Broken(store, release=ConnectionError("reset")), clock)
        one.value = KeyError("odd")
        with pytest.raises(KeyError):
            await one.get()
        assert [event.operation for event, _, _ in one.heard] == ["release"]

    async def test_whose_caller_is_cancelled_is_no_failure(self, store, clock):
        one = Process(Broken(store, get="hang"), clock)
        waiting = one.start()
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert one.heard == []

    @pytest.mark.parametrize("data", [b"\x01{", b"plain", b"", b"\x00more"])
    async def test_whose_value_cannot_be_read_is_left_alone(self, store, clock, data):
        await store.set("v1:a", data, ttl=50.0)
        one = Process(store, clock)
        assert await one.get() == "value"
        assert [event.operation for event, _, _ in one.heard] == ["decode"]
        assert (await store.get("v1:a"))[0] == data

    @pytest.mark.parametrize("lease", [5.0, None])
    async def test_value_that_cannot_be_written_is_answered_all_the_same(self, store, clock, lease):
        one = Process(store, clock, lease=lease)
        one.value = value = object()
        assert await one.get() is value
        assert [event.operation for event, _, _ in one.heard] == ["encode"]
        assert await store.acquire("v1:a", "next", ttl=1.0)


class TestKeysAndOptions:
    async def test_keys_are_texts_or_made_texts(self, store, clock):
        one = Process(store, clock)
        with pytest.raises(TypeError, match=r"texts for keys, not 7: give Shared\(key=...\)"):
            await one.get(7)
        two = Process(store, clock, key=str)
        assert await two.get(7) == "value"
        assert await store.get("v1:7") is not None

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"namespace": ""}, "namespace must be a text, not ''"),
            ({"namespace": 7}, "namespace must be a text"),
            ({"ttl": 0}, "ttl must be"),
            ({"lease": 0}, "lease must be"),
            ({"timeout": -1}, "timeout must be"),
        ],
    )
    def test_options_that_cannot_be_are_named(self, store, options, message):
        known = {"namespace": "v1", "dumps": dumps, "loads": json.loads, "ttl": 100.0}
        with pytest.raises(ConfigurationError, match=message):
            Shared(store, **known | options)

    def test_the_first_tier_keeps_no_longer_than_the_second(self, store):
        shared = Shared(store, namespace="v1", dumps=dumps, loads=json.loads, ttl=100.0)
        assert repr(shared) == "Shared('v1', 100 s)"
        with pytest.raises(ConfigurationError, match="ttl must not be above the 100 s"):
            Cache(ttl=100.1, shared=shared)
        cache = Cache(ttl=100.0, shared=shared)
        with pytest.raises(ConfigurationError, match="ttl must not be above"):
            cache.reconfigure(ttl=101.0)
