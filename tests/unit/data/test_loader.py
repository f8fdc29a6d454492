import asyncio
import gc
import json
import weakref

import pytest

from prodkit.call import CURRENT, Call
from prodkit.data.cache import Cache
from prodkit.data.loader import Loader
from prodkit.errors import ConfigurationError, InternalError, NotFoundError, UnavailableError

pytestmark = pytest.mark.anyio


class Table:
    """A batch function that records what it was asked, and waits while `gate` is closed."""

    def __init__(self, answer=None, gate=None):
        self.batches = []
        self.cancelled = 0
        self.gate = gate
        self.answer = answer or (lambda keys: {key: f"row {key}" for key in keys})

    async def __call__(self, keys):
        self.batches.append(keys)
        if self.gate is not None:
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return self.answer(keys)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


class TestATurn:
    async def test_is_one_batch_of_different_keys(self):
        table = Table()
        loader = Loader(table)
        answers = await asyncio.gather(*(loader.load(key) for key in (1, 2, 1, 3, 1)))
        assert answers == ["row 1", "row 2", "row 1", "row 3", "row 1"]
        assert (table.batches, loader.calls) == ([[1, 2, 3]], 1)

    @pytest.mark.parametrize("size", [10, 100])
    async def test_of_a_page_makes_as_many_calls_whatever_its_size(self, size):
        orders = Loader(Table(lambda keys: {key: [key, key + 1] for key in keys}))
        products = Loader(Table(), max_batch=1000)

        async def line(product):
            return await products.load(product)

        async def order(key):
            lines = await orders.load(key)
            return await asyncio.gather(*map(line, lines))

        await asyncio.gather(*map(order, range(size)))
        assert (orders.calls, products.calls) == (1, 1)

    async def test_is_followed_by_a_batch_of_its_own(self):
        table = Table()
        loader = Loader(table)
        assert await loader.load(1) == "row 1"
        assert await loader.load(1) == "row 1"
        assert table.batches == [[1], [1]]

    async def test_is_split_by_what_one_call_takes(self):
        table = Table()
        loader = Loader(table, max_batch=2)
        assert await loader.load_many([1, 2, 2, 3, 4, 5, 1]) == [
            f"row {key}" for key in (1, 2, 2, 3, 4, 5, 1)
        ]
        assert table.batches == [[1, 2], [3, 4], [5]]

    async def test_may_ask_for_nothing(self):
        table = Table()
        assert await Loader(table).load_many([]) == []
        assert table.batches == []

    async def test_batches_what_a_cache_misses(self):
        table = Table()
        loader, cache = Loader(table), Cache(ttl=10.0)
        for _ in range(2):
            rows = await asyncio.gather(*(cache.get(key, loader.load) for key in (1, 2, 1)))
            assert rows == ["row 1", "row 2", "row 1"]
        assert table.batches == [[1, 2]]


class TestAnswers:
    async def test_may_come_in_order(self):
        loader = Loader(Table(lambda keys: tuple(key * 2 for key in keys)))
        assert await loader.load_many([3, 1, 2]) == [6, 2, 4]

    async def test_that_a_mapping_lacks_are_not_found(self):
        loader = Loader(Table(lambda keys: {1: "one", 9: "nine"}), name="rows")
        one, two = loader.load(1), loader.load(2)
        assert await one == "one"
        with pytest.raises(NotFoundError) as missed:
            await two
        assert missed.value.message == "nothing was found"
        assert missed.value.__notes__ == ["rows found nothing"]

    async def test_may_be_none(self):
        assert await Loader(Table(lambda keys: [None for _ in keys])).load(1) is None

    async def test_that_are_exceptions_are_raised_to_those_who_asked_for_them(self):
        odd = ValueError("odd")
        loader = Loader(Table(lambda keys: [odd if key % 2 else key for key in keys]))
        waiters = [loader.load(key) for key in (1, 2, 1, 2)]
        answers = await asyncio.gather(*waiters, return_exceptions=True)
        assert answers == [odd, 2, odd, 2]

    async def test_that_no_future_takes_are_raised_all_the_same(self):
        loader = Loader(Table(lambda keys: [StopIteration("end") for _ in keys]))
        with pytest.raises(InternalError, match="StopIteration") as failed:
            await loader.load(1)
        assert failed.value.message == "a load went wrong"

    @pytest.mark.parametrize(
        ("answers", "message"),
        [
            ([1], "rows returned 1 answers for 2 keys: it must return one for each"),
            ([1, 2, 3], "rows returned 3 answers for 2 keys"),
            (None, "rows must return a mapping or a sequence, not NoneType"),
            ("ab", "rows must return a mapping or a sequence, not str"),
            (iter([1, 2]), "rows must return a mapping or a sequence, not list_iterator"),
        ],
    )
    async def test_that_are_unfit_are_told_to_all(self, answers, message):
        loader = Loader(Table(lambda keys: answers), name="rows")
        waiters = [loader.load(1), loader.load(2)]
        for waiter in waiters:
            with pytest.raises(InternalError) as unfit:
                await waiter
            assert unfit.value.message == "a load went wrong"
            assert message in unfit.value.__notes__[0]

    async def test_errors_of_the_batch_are_raised_to_all(self):
        def fail(keys):
            raise ConnectionError("reset")

        loader = Loader(Table(fail))
        waiters = [loader.load(key) for key in (1, 2, 1)]
        answers = await asyncio.gather(*waiters, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ConnectionError] * 3


class TestCancellation:
    async def test_of_one_caller_disturbs_no_other(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table)
        waiters = [loader.load(key) for key in (1, 1, 2)]
        await turns()
        waiters[0].cancel()
        await turns()
        table.gate.set()
        assert await waiters[1] == "row 1"
        assert await waiters[2] == "row 2"
        assert (table.cancelled, waiters[0].cancelled()) == (0, True)

    async def test_of_a_further_caller_disturbs_no_other(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table)
        waiters = [loader.load(1) for _ in range(3)]
        await turns()
        waiters[1].cancel()
        table.gate.set()
        assert [await waiters[0], await waiters[2]] == ["row 1"] * 2

    async def test_of_a_task_that_waits_is_the_same(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table)

        async def one():
            return await loader.load(1)

        tasks = [asyncio.create_task(one()) for _ in range(2)]
        await turns()
        tasks[0].cancel()
        await turns()
        table.gate.set()
        assert await tasks[1] == "row 1"
        assert tasks[0].cancelled()

    async def test_of_everybody_cancels_the_batch(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table)
        many = asyncio.create_task(loader.load_many([1, 2, 1]))
        await turns()
        many.cancel()
        await turns()
        assert (many.cancelled(), table.cancelled) == (True, 1)

    async def test_of_everybody_in_one_part_of_a_split_batch_cancels_that_part(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, max_batch=2)
        waiters = [loader.load(key) for key in (1, 2, 2, 3)]
        await turns()
        assert table.batches == [[1, 2], [3]]
        for waiter in waiters[:3]:
            assert waiter.cancel()
            assert not waiter.cancel()
        await turns()
        assert table.cancelled == 1
        table.gate.set()
        assert await waiters[3] == "row 3"

    async def test_before_the_batch_takes_the_key_out(self):
        table = Table()
        loader = Loader(table)
        waiters = [loader.load(key) for key in (1, 2, 2, 3)]
        waiters[0].cancel()
        waiters[1].cancel()
        assert await waiters[2] == "row 2"
        assert await waiters[3] == "row 3"
        assert table.batches == [[2, 3]]

    async def test_of_everybody_before_the_batch_makes_none(self):
        table = Table()
        loader = Loader(table)
        loader.load(1).cancel()
        await turns()
        assert table.batches == []
        assert await loader.load(1) == "row 1"

    async def test_by_the_batch_itself_is_an_error(self):
        async def cancelled(keys):
            raise asyncio.CancelledError

        with pytest.raises(UnavailableError, match="was cancelled"):
            await Loader(cancelled).load(1)

    async def test_of_one_caller_hides_no_error_from_the_others(self):
        gate = asyncio.Event()
        loader = Loader(Table(lambda keys: [ValueError("odd")], gate=gate))
        waiters = [loader.load(1) for _ in range(2)]
        await turns()
        waiters[0].cancel()
        gate.set()
        with pytest.raises(ValueError, match="odd"):
            await waiters[1]


class TestKeepingAnswers:
    async def test_asks_once_for_each_key(self):
        table = Table()
        loader = Loader(table, cache=True)
        await loader.load_many([1, 2])
        assert await loader.load_many([1, 2, 3]) == ["row 1", "row 2", "row 3"]
        assert table.batches == [[1, 2], [3]]

    async def test_joins_what_is_under_way(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, cache=True)
        first = loader.load(1)
        await turns()
        second = loader.load(1)
        await turns()
        table.gate.set()
        assert [await first, await second] == ["row 1"] * 2
        assert table.batches == [[1]]

    async def test_joins_nothing_that_was_given_up(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, cache=True)
        first = loader.load(1)
        await turns()
        first.cancel()
        second = loader.load(1)
        table.gate.set()
        assert await second == "row 1"
        assert table.batches == [[1], [1]]

    async def test_keeps_no_errors(self):
        answers = [{1: ValueError("odd")}, {1: "even"}]
        loader = Loader(Table(lambda keys: answers.pop(0)), cache=True)
        with pytest.raises(ValueError):
            await loader.load(1)
        assert await loader.load(1) == "even"

    async def test_keeps_nothing_of_a_batch_that_failed(self):
        answers = [None, {1: "even"}]
        loader = Loader(Table(lambda keys: answers.pop(0)), cache=True)
        with pytest.raises(InternalError):
            await loader.load(1)
        assert await loader.load(1) == "even"

    async def test_ends_with_clear_also_for_what_is_under_way(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, cache=True)
        old = loader.load_many([1, 2])
        waiting = asyncio.create_task(old)
        await turns()
        loader.clear(1)
        new = loader.load(1)
        await turns()
        table.gate.set()
        await waiting
        assert await new == "row 1"
        assert await loader.load_many([1, 2]) == ["row 1", "row 2"]
        assert table.batches == [[1, 2], [1]]
        loader.clear(2)
        await loader.load(2)
        loader.clear_all()
        await loader.load(1)
        assert table.batches[2:] == [[2], [1]]

    async def test_ends_with_clear_all_also_for_what_is_under_way(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, cache=True)
        old = loader.load(1)
        await turns()
        loader.clear_all()
        table.gate.set()
        assert await old == "row 1"
        await loader.load(1)
        assert table.batches == [[1], [1]]

    async def test_clearing_where_nothing_is_kept_is_harmless(self):
        loader = Loader(Table())
        loader.clear(1)
        loader.clear_all()

    async def test_takes_answers_from_elsewhere(self):
        table = Table(gate=asyncio.Event())
        loader = Loader(table, cache=True)
        loader.prime(1, "primed")
        assert await loader.load(1) == "primed"
        under_way, collected = loader.load(2), loader.load(3)
        loader.prime(3, "primed before")
        await turns()
        loader.prime(2, "primed after")
        table.gate.set()
        assert [await under_way, await collected] == ["row 2", "row 3"]
        assert await loader.load_many([2, 3]) == ["primed after", "primed before"]
        assert table.batches == [[2, 3]]

    async def test_is_not_what_a_loader_without_a_cache_does(self):
        with pytest.raises(ConfigurationError, match="needs cache=True"):
            Loader(Table(), name="rows").prime(1, "one")


class TestTheContextOfABatch:
    async def test_is_that_of_whoever_asked_first_without_the_deadline(self):
        seen = []
        loader = Loader(Table(lambda keys: seen.append(CURRENT.get()) or keys))
        token = CURRENT.set(Call("first", deadline=3.0))
        first = loader.load(1)
        CURRENT.set(Call("second"))
        second = loader.load(2)
        CURRENT.reset(token)
        await asyncio.gather(first, second)
        assert [(call.operation, call.deadline) for call in seen] == [("first", None)]


class TestClosing:
    async def test_cancels_what_is_under_way_and_awaits_it(self):
        table = Table(gate=asyncio.Event())
        async with Loader(table, name="rows") as loader:
            running = [loader.load(1), loader.load(1)]
            await turns()
            collected = loader.load(2)
        assert table.cancelled == 1
        for waiter in (*running, collected):
            assert waiter.done()
            with pytest.raises(UnavailableError, match="loader rows is closed"):
                await waiter
        with pytest.raises(UnavailableError, match="loader rows is closed"):
            loader.load(3)
        await turns()
        assert table.batches == [[1]]
        await loader.aclose()


class TestMemory:
    async def test_of_a_batch_is_free_without_the_garbage_collector(self):
        loader = Loader(Table(), cache=True)
        gc.collect()
        gc.disable()
        try:
            waiters = [loader.load(1), loader.load(1)]
            kept = [weakref.ref(waiter) for waiter in waiters]
            await asyncio.wait(waiters)
            del waiters
            await turns()
            assert [waiter() for waiter in kept] == [None, None]
        finally:
            gc.enable()


class TestOptions:
    @pytest.mark.parametrize("size", [0, -1, True, 1.5, "1"])
    def test_that_cannot_be_are_named(self, size):
        with pytest.raises(ConfigurationError, match="max_batch must be a number of at least 1"):
            Loader(Table(), max_batch=size)

    def test_are_in_the_drawing(self):
        assert repr(Loader(Table())) == "Loader('Table', 100 at once)"
        named = Loader(json.dumps, max_batch=7, cache=True)
        assert repr(named) == "Loader('dumps', 7 at once, cache)"
