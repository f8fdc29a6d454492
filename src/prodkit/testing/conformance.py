"""What a store must do, as checks to run on one of your own; AssertionError says what it does not.

    async def test_my_store():
        clock = ManualClock()
        await check_rate_limit_store(MyStore(), now=clock.monotonic, advance=clock.advance)

A store with a clock of its own, Redis say, is given `now=time.monotonic, advance=asyncio.sleep`.
Every key is fresh, so a store may be checked while others use it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from prodkit.policies.gcra import SECOND, Rate, RateLimitStore

Now = Callable[[], float]
Advance = Callable[[float], Awaitable[None]]


def _expect(condition: bool, promise: str) -> None:
    if not condition:
        raise AssertionError(f"the store breaks a promise: {promise}")


def _fresh() -> str:
    return f"conformance-{secrets.token_hex(16)}"


async def check_rate_limit_store(store: RateLimitStore, *, now: Now, advance: Advance) -> None:
    """Check `store` against RateLimitStore: the burst, the refill, separate keys, no lost counts.

    It takes three seconds of the store's time.
    """
    rate = Rate(10, per=1.0, burst=5)
    key = _fresh()

    async def admitted(key: str, calls: int) -> int:
        instant = round(now() * SECOND)
        asked = [store.take(key, rate, instant) for _ in range(calls)]
        return sum(ahead <= rate.tolerance for ahead in await asyncio.gather(*asked))

    count = await admitted(key, 50)
    _expect(5 <= count <= 6, f"50 calls at once of a burst of 5: {count} admitted")
    _expect(await admitted(_fresh(), 1) == 1, "keys do not know of each other")
    await advance(0.25)
    count = await admitted(key, 50)
    _expect(2 <= count <= 3, f"a quarter of a second of 10/s gives back 2 calls, not {count}")
    ahead = await store.take(key, rate, round(now() * SECOND))
    _expect(ahead > rate.tolerance, "a key that used up its rate is refused")
    await advance((ahead - rate.tolerance) / SECOND + 0.001)
    _expect(await admitted(key, 1) == 1, "the wait that a refusal tells is long enough")
    await advance(2.0)
    count = await admitted(key, 50)
    _expect(5 <= count <= 6, f"after a rest the burst is whole, and no more than whole: {count}")
