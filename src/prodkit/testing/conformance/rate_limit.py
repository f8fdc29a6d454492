"""What a RateLimitStore must do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from prodkit.policies.rate_limiter import Answer, Limit, Rate, RateLimitStore, SlidingLog
from prodkit.testing.conformance._expect import Advance, Now, expect, fresh
from prodkit.testing.conformance._steps import Step, run

SECOND = 1_000_000_000
#: What a store's own clock may have moved on between two steps of a check.
_SLACK = 0.001


async def check_rate_limit_store(
    store: RateLimitStore, *, now: Now, advance: Advance, concurrently: bool = False
) -> None:
    """Check `store` against RateLimitStore: rates and logs, several at once, cost, turns, expiry.

    It takes eighteen seconds of the store's time; four, `concurrently`.
    """
    shop = _Counter(store, now)
    steps: list[Step] = [
        lambda advance: _check_rate(shop, advance),
        lambda advance: _check_log(shop, advance),
        *(partial(_check_cost, shop, limit) for limit in _COSTS),
        *(partial(_check_several, shop, limits) for limits in _PAIRS),
        *(partial(_check_turns, shop, limit) for limit in _TURNS),
        lambda advance: _check_changes(shop),
    ]
    await run(steps, advance, concurrently=concurrently)


class _Counter:
    """A store with the clock filled in; `wait` is how many seconds a call is away."""

    def __init__(self, store: RateLimitStore, now: Now) -> None:
        self.store = store
        self.now = now

    async def ask(self, key: str, *limits: Limit, cost: int = 1, patience: float = 0.0) -> Answer:
        instant = round(self.now() * SECOND)
        return await self.store.take(key, limits, cost, instant, round(patience * SECOND))

    async def admitted(self, key: str, *limits: Limit, calls: int = 50, cost: int = 1) -> int:
        """Return how many of so many calls at once are admitted."""
        answers = await asyncio.gather(*(self.ask(key, *limits, cost=cost) for _ in range(calls)))
        return sum(answer[1] == 0 for answer in answers)


def _left(limits: Sequence[Limit], answer: Answer) -> list[int]:
    return [
        max((limit.tolerance - ahead) // limit.interval, 0)
        for limit, ahead in zip(limits, answer[2:], strict=True)
    ]


async def _check_rate(shop: _Counter, advance: Advance) -> None:
    rate, key = Rate(10, per=1.0, burst=5), fresh()
    first = await shop.ask(key, rate)
    expect(first[1] == 0 and len(first) == 3, f"a fresh key is admitted: (at, 0, ahead): {first}")
    expect(_left([rate], first) == [4], f"of a burst of 5 a call leaves 4: {first}")
    count = await shop.admitted(key, rate)
    expect(4 <= count <= 5, f"50 more calls at once of a burst of 5: {count} admitted")
    expect(await shop.admitted(fresh(), rate, calls=1) == 1, "keys do not know of each other")
    await advance(0.25)
    count = await shop.admitted(key, rate)
    expect(2 <= count <= 3, f"a quarter of a second of 10/s gives back 2 calls, not {count}")
    refused = await shop.ask(key, rate)
    expect(0 < refused[1] <= rate.interval, f"a key that used up its rate is refused: {refused}")
    expect(refused[2] == rate.tolerance + refused[1], f"its ahead says by how much: {refused}")
    again = await shop.ask(key, rate)
    expect(again[1] <= refused[1], "a refusal counts nothing")
    await advance(again[1] / SECOND + _SLACK)
    expect(await shop.admitted(key, rate, calls=1) == 1, "the wait that a refusal tells suffices")
    await advance(2.0)
    count = await shop.admitted(key, rate)
    expect(5 <= count <= 6, f"after a rest the burst is whole, and no more than whole: {count}")


async def _check_log(shop: _Counter, advance: Advance) -> None:
    log, key = SlidingLog(5, per=1.0), fresh()
    expect(await shop.admitted(key, log, calls=2) == 2, "a fresh key of a log is admitted")
    await advance(0.6)
    count = await shop.admitted(key, log)
    expect(count == 3, f"a log of 5, with 2 in its window, admits 3 of 50 at once, not {count}")
    refused = await shop.ask(key, log)
    expect(0 < refused[1] <= 0.4 * SECOND, f"until the oldest call leaves: {refused[1]} ns")
    expect(refused[2] == log.tolerance + refused[1], f"its ahead says by how much: {refused}")
    await advance(refused[1] / SECOND + _SLACK)
    count = await shop.admitted(key, log)
    expect(count == 2, f"when 2 calls left the window there is room for 2, not {count}")
    await advance(0.5)
    expect(await shop.admitted(key, log) == 0, "3 and 2 calls within a second are 5")
    await advance(0.15)
    expect(await shop.admitted(key, log) == 3, "the window slides, it does not jump")
    await advance(2.0)
    answer = await shop.ask(key, log)
    expect(_left([log], answer) == [4], f"after a rest the log is empty: {answer}")


async def _check_cost(shop: _Counter, limit: Limit, _advance: Advance) -> None:
    key = fresh()
    answer = await shop.ask(key, limit, cost=3)
    expect(answer[1] == 0, f"a cost of 3 fits into 5: {answer}")
    expect(_left([limit], answer) == [2], f"5 without a cost of 3 are 2: {answer}")
    refused = await shop.ask(key, limit, cost=3)
    expect(refused[1] > 0, "a cost of 3 does not fit into 2")
    expect(await shop.admitted(key, limit, calls=1, cost=2) == 1, "a cost of 2 still does")
    expect(await shop.admitted(key, limit) == 0, "then nothing is left")


_COSTS: tuple[Limit, ...] = (Rate(5, per=60.0), SlidingLog(5, per=60.0))


async def _check_several(shop: _Counter, limits: Sequence[Limit], advance: Advance) -> None:
    key = fresh()
    count = await shop.admitted(key, *limits)
    expect(count == 3, f"the narrower of two limits, 3, rules: {count} admitted")
    refused = await shop.ask(key, *limits)
    expect(refused[1] > 0 and len(refused) == 4, f"(at, wait, ahead, ahead): {refused}")
    left = _left(limits, refused)
    expect(left == [0, 5], f"what one limit refuses does not count in the other: {left} left")
    await advance(1.0 + _SLACK)
    count = await shop.admitted(key, *limits)
    expect(count == 3, f"a second later the narrower admits 3 again: {count}")
    await advance(1.0 + _SLACK)
    count = await shop.admitted(key, *limits)
    expect(count == 2, f"of the wider one's 8 two are left: {count} admitted")
    refused = await shop.ask(key, *limits)
    expect(refused[1] > SECOND, f"the wait is the longest one: {refused[1]} ns")


_PAIRS: tuple[tuple[Limit, Limit], ...] = (
    (Rate(3, per=1.0), Rate(8, per=3600.0)),
    (SlidingLog(3, per=1.0), SlidingLog(8, per=3600.0)),
    (Rate(3, per=1.0), SlidingLog(8, per=3600.0)),
    (SlidingLog(3, per=1.0), Rate(8, per=3600.0)),
)


async def _check_turns(shop: _Counter, limit: Limit, advance: Advance) -> None:
    key = fresh()
    turns = [await shop.ask(key, limit, patience=1.1) for _ in range(4)]
    waits = [answer[1] / SECOND for answer in turns]
    near = [abs(wait - turn * 0.5) < 0.1 for turn, wait in enumerate(waits)]
    expect(all(near), f"turns come one interval after the other: {waits}")
    expect(turns[3][1] > 1.1 * SECOND, "a turn beyond the patience is not reserved")
    expect(turns[1][2] <= limit.tolerance, "who has a turn is not over the limit at it")
    await shop.store.give_back(key, (limit,), 1, turns[1])
    wait = (await shop.ask(key, limit))[1] / SECOND
    expect(wait > 0.9, f"a turn with somebody behind it changes nothing: {wait} s")
    await advance(1.0 + _SLACK)
    expect(await shop.admitted(key, limit) == 0, "a reserved turn counts when it comes")
    await advance(0.5)
    expect(await shop.admitted(key, limit) == 1, "and then is over")


_TURNS: tuple[Limit, ...] = (Rate(1, per=0.5), SlidingLog(1, per=0.5))


async def _check_changes(shop: _Counter) -> None:
    key = fresh()
    expect(await shop.admitted(key, Rate(4, per=60.0)) == 4, "a burst of 4")
    refused = await shop.ask(key, Rate(2, per=60.0))
    expect(refused[1] > 0, "a changed rate keeps what was counted")
    expect(await shop.admitted(key, SlidingLog(2, per=60.0)) == 2, "another algorithm begins anew")
    both = (SlidingLog(3, per=60.0), Rate(9, per=60.0))
    expect(await shop.admitted(key, *both) == 1, "a place more leaves the first as it is")
