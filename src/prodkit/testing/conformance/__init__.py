"""What a store must do, as checks to run on one of your own; AssertionError says what it does not.

    async def test_my_store():
        clock = ManualClock()
        await check_rate_limit_store(MyStore(), now=clock.monotonic, advance=clock.advance)

A store with a clock of its own, Redis say, is given `now=time.monotonic, advance=asyncio.sleep`
(idempotency stores are told Unix time: `time.time`), and `concurrently=True`, so that the waits run
side by side. What failed on a machine that was too busy to wait as long as it meant to proves
nothing, and is done again. Every key is fresh, so a store may be checked while others use it.
"""

from prodkit.testing.conformance.breaker import check_breaker_store
from prodkit.testing.conformance.cache import check_cache
from prodkit.testing.conformance.idempotency import check_idempotency_store
from prodkit.testing.conformance.rate_limit import check_rate_limit_store

__all__ = [
    "check_breaker_store",
    "check_cache",
    "check_idempotency_store",
    "check_rate_limit_store",
]
