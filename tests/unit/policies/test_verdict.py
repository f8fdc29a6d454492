import asyncio
from contextlib import nullcontext

import pytest

from prodkit import Call
from prodkit.policies._verdict import judged_once

pytestmark = pytest.mark.anyio


class Work:
    """What proceeds: speaks first where told to, and fails where told to."""

    def __init__(self, *, speaks=False, error=None):
        self.speaks = speaks
        self.error = error

    async def __call__(self, call):
        if self.speaks:
            call.first_message()
        if self.error is not None:
            raise self.error
        return "answer"


BROKEN = ConnectionError("down")


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work(), None),
        (Work(error=BROKEN), BROKEN),
        (Work(speaks=True), None),
        (Work(speaks=True, error=BROKEN), None),
    ],
    ids=["ends", "fails", "speaks", "speaks, then fails"],
)
async def test_it_is_told_once_by_what_came_first(work, told):
    verdicts = []
    with nullcontext() if work.error is None else pytest.raises(ConnectionError):
        assert await judged_once(Call("op"), work, verdicts.append) == "answer"
    assert verdicts == [told]


async def test_a_message_after_the_end_tells_nothing():
    call, verdicts = Call("op"), []
    await judged_once(call, Work(), verdicts.append)
    call.first_message()
    assert verdicts == [None]


@pytest.mark.parametrize("speaks", [False, True])
async def test_a_cancelled_call_is_judged_by_its_message_alone(speaks):
    call, verdicts = Call("op"), []
    with pytest.raises(asyncio.CancelledError):
        await judged_once(
            call, Work(speaks=speaks, error=asyncio.CancelledError()), verdicts.append
        )
    call.first_message()
    assert verdicts == [None] * speaks
