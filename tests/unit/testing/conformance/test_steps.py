import asyncio
import time

import pytest

from prodkit.testing.conformance._expect import expect
from prodkit.testing.conformance._steps import run

pytestmark = pytest.mark.anyio


async def at_once(seconds):
    """A test's own clock: no time passes by itself."""


class Step:
    """Breaks its promise in the first `broken` runs, of which it is `late` (seconds) in each."""

    def __init__(self, broken=0, late=0.0):
        self.broken = broken
        self.late = late
        self.runs = 0

    async def __call__(self, advance):
        self.runs += 1
        await advance(0.0 if self.late else 100.0)
        time.sleep(self.late)
        expect(self.runs > self.broken, "it lasts")


@pytest.mark.parametrize("concurrently", [False, True])
async def test_a_promise_broken_in_time_is_broken(concurrently):
    right, broken = Step(), Step(broken=1)
    with pytest.raises(AssertionError, match="the store breaks a promise: it lasts"):
        await run([right, broken], at_once, concurrently=concurrently)
    assert (right.runs, broken.runs) == (1, 1)


async def test_what_was_late_says_nothing_and_is_done_again():
    step = Step(broken=2, late=0.06)
    await run([step], at_once, concurrently=False)
    assert step.runs == 3


async def test_what_is_late_and_right_is_right():
    step = Step(late=0.06)
    await run([step], at_once, concurrently=False)
    assert step.runs == 1


async def test_what_is_never_in_time_ends_and_says_so():
    step = Step(broken=1000, late=0.051)
    with pytest.raises(AssertionError, match="it lasts") as caught:
        await run([step], at_once, concurrently=False)
    assert step.runs == 20
    assert "20 times it was late, lastly by 0." in caught.value.__notes__[0]


async def test_side_by_side_their_waits_take_as_long_as_the_longest():
    waiting, turn = [], asyncio.Event()

    async def advance(seconds):
        waiting.append(seconds)
        if len(waiting) == 3:
            turn.set()
        await turn.wait()

    await run([Step(), Step(), Step()], advance, concurrently=True)
    assert waiting == [100.0] * 3


async def test_the_others_end_with_the_one_that_fails():
    ended = asyncio.Event()

    async def endless(advance):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(AssertionError):
        await run([endless, Step(broken=1)], at_once, concurrently=True)
    assert ended.is_set()
