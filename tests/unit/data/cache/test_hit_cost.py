"""What a hit costs, in Python calls: exact on every machine."""

import sys

import pytest

from prodkit.data.cache import Cache, cached

pytestmark = pytest.mark.anyio


async def load(key):
    return key


async def python_calls(ask):
    counted = 0

    def profile(_frame, event, _argument):
        nonlocal counted
        counted += event == "call"

    sys.setprofile(profile)
    try:
        await ask(7)
    finally:
        sys.setprofile(None)
    return counted


async def test_a_hit_is_one_call():
    cache = Cache(ttl=10.0)
    await cache.get(7, load)

    async def floor(key):
        return cache.get

    def ask(key):
        return cache.get(key, load)

    assert await python_calls(ask) - await python_calls(floor) == 1  # `ask` is the other one


async def test_a_hit_of_a_decorated_function_is_three():
    decorated = cached(ttl=10.0)(load)
    await decorated(7)
    assert await python_calls(decorated) == 3  # the wrapper, the key, the look
