import asyncio
import inspect
from typing import get_type_hints

import pytest

from prodkit.data.cache import Cache, CacheOptions, cached
from prodkit.errors import ConfigurationError
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


def counting(**options):
    calls = []

    @cached(ttl=10.0, clock=ManualClock(), **options)
    async def price(product, currency="EUR", *, net=False):
        """Say what it costs."""
        calls.append((product, currency, net))
        return len(calls)

    return price, calls


class TestCached:
    async def test_calls_once_for_the_same_arguments_however_passed(self):
        price, calls = counting()
        answers = [
            await price("laptop"),
            await price(product="laptop"),
            await price("laptop", "EUR"),
            await price(net=False, currency="EUR", product="laptop"),
        ]
        assert answers == [1] * 4
        assert await price("laptop", net=True) == 2
        assert await price("laptop", "USD") == 3
        assert (price.cache.stats.hits, price.cache.stats.misses) == (3, 3)
        assert len(calls) == 3

    async def test_takes_positions_alone_the_short_way(self):
        @cached(ttl=10.0)
        async def add(a, b):
            calls.append((a, b))
            return a + b

        calls = []
        assert [await add(1, 2), await add(1, b=2), await add(b=2, a=1)] == [3] * 3
        assert calls == [(1, 2)]

    async def test_tells_types_apart(self):
        price, _ = counting()
        assert [await price(1), await price(1.0), await price(True)] == [1, 2, 3]
        assert [await price(1, net=0), await price(1, net=False)] == [4, 1]

    async def test_refuses_arguments_without_a_hash_by_name(self):
        price, calls = counting()
        with pytest.raises(TypeError, match=r"price cannot be part of a cache key .*list"):
            await price(["laptop"])
        with pytest.raises(TypeError, match="missing a required argument"):
            await price()
        assert not calls

    async def test_lets_type_errors_of_others_through(self):
        clock = ManualClock()
        price = cached(ttl=10.0, clock=clock)(_value)
        await price(1)
        price.cache._monotonic = lambda: "now"
        with pytest.raises(TypeError, match="not supported between"):
            await price(1)

    async def test_takes_a_key_of_one_s_own(self):
        price, calls = counting(key=lambda product, *rest, **more: str(product))
        assert await price(["laptop"]) == 1
        assert await price(["laptop"], "USD") == 1
        assert len(calls) == 1

    async def test_invalidates_by_arguments(self):
        price, _ = counting()
        await price("laptop")
        await price.invalidate(product="laptop")
        assert await price("laptop") == 2

    async def test_keeps_name_signature_and_being_a_coroutine_function(self):
        price, _ = counting()
        assert price.__name__ == "price"
        assert price.__doc__ == "Say what it costs."
        assert inspect.iscoroutinefunction(price)
        assert list(inspect.signature(price).parameters) == ["product", "currency", "net"]
        assert price.cache.name.endswith("price")

    async def test_gives_each_function_a_cache_of_its_own(self):
        decorate = cached(ttl=10.0)
        first, second = decorate(_value), decorate(_value)
        await first(1)
        assert (len(first.cache), len(second.cache)) == (1, 0)

    async def test_has_the_instance_of_a_method_in_the_key(self):
        class Shop:
            def __init__(self, factor):
                self.factor = factor

            @cached(ttl=10.0)
            async def price(self, product):
                return self.factor * len(product)

        one, two = Shop(1), Shop(2)
        assert [await one.price("tea"), await two.price("tea")] == [3, 6]
        one.factor = 10
        assert await one.price("tea") == 3
        await Shop.price.invalidate(one, "tea")
        assert [await one.price("tea"), await two.price("tea")] == [30, 6]

    async def test_loads_once_for_a_herd_of_calls(self):
        price, calls = counting()
        assert await asyncio.gather(*(price("laptop") for _ in range(100))) == [1] * 100
        assert len(calls) == 1

    def test_names_wrong_options_on_the_decorator_s_line(self):
        with pytest.raises(ConfigurationError, match="ttl"):
            cached(ttl=0)

    def test_has_the_options_of_the_cache(self):
        own = set(inspect.signature(Cache).parameters) - {"shared", "name"}
        assert set(get_type_hints(CacheOptions)) == own


async def _value(key):
    return key


class TestWrap:
    async def test_shares_the_keys_of_the_cache(self):
        cache = Cache(ttl=10.0, clock=ManualClock())
        calls = []

        @cache.wrap(key=lambda product, fields=(): product)
        async def product_of(product, fields=()):
            calls.append(product)
            return {"id": product}

        assert await product_of(7, ["name"]) == {"id": 7}
        assert await cache.get(7, _value) == {"id": 7}
        await cache.invalidate(7)
        await product_of(7)
        await product_of.invalidate(7)
        await product_of(7)
        assert calls == [7, 7, 7]
        assert product_of.cache is cache
