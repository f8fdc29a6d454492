"""The lease's error, as its docstring states it: how much over in any window, and never in all."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from prodkit.policies.rate_limiter import (
    LeasedRateLimitStore,
    MemoryRateLimitStore,
    Rate,
    SlidingLog,
)
from prodkit.policies.rate_limiter.limit import SECOND

UNIT = SECOND // 1000


def finish(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("it suspended")


def run(limit, share, hold, processes, steps):
    """Return when which units of cost were taken from the store, and when they were used."""
    store = MemoryRateLimitStore()
    taken, used, now = [], [], 0
    take = store.take

    class Watched(MemoryRateLimitStore):
        async def take(self, key, limits, cost, now, patience=0):
            answer = await take(key, limits, cost, now, patience)
            if not answer[1]:
                taken.extend([now] * cost)
            return answer

    leased = [LeasedRateLimitStore(Watched(), share=share, hold=hold) for _ in range(processes)]
    quota = limit.tolerance // limit.interval
    for pause, process, wanted, times in steps:
        now += pause * UNIT
        cost, mine = min(wanted, quota), leased[process % processes]
        answers = [finish(mine.take("key", (limit,), cost, now, 0)) for _ in range(times)]
        used.extend([now] * (cost * sum(not answer[1] for answer in answers)))
    return taken, used, max(int(share * quota), 1)


durations = st.sampled_from([0.01, 0.1, 1.0])
sizes = st.integers(1, 12)
limits = st.builds(Rate, sizes, durations) | st.builds(SlidingLog, sizes, durations)
pauses = st.sampled_from([0, 0, 1, 5, 20, 100, 1000])
steps = st.lists(
    st.tuples(pauses, st.integers(0, 2), st.integers(1, 4), st.integers(1, 12)), max_size=30
)
options = {
    "limit": limits,
    "share": st.sampled_from([0.1, 0.3, 0.5, 1.0]),
    "hold": st.sampled_from([0.005, 0.1, 2.0]),
    "processes": st.integers(1, 3),
    "steps": steps,
}


@given(**options)
def test_every_call_uses_a_permit_that_the_store_counted(limit, share, hold, processes, steps):
    taken, used, _ = run(limit, share, hold, processes, steps)
    for count, at in enumerate(used, 1):
        assert sum(when <= at for when in taken) >= count


@given(**options)
def test_a_window_holds_at_most_the_permits_at_hand_more(limit, share, hold, processes, steps):
    _, used, batch = run(limit, share, hold, processes, steps)
    extra = processes * (batch - 1)
    hold = round(hold * SECOND)
    for first, begin in enumerate(used):
        for last in range(first, len(used)):
            count, length = last - first + 1, used[last] - begin
            if isinstance(limit, Rate):
                burst = limit.tolerance // limit.interval
                assert count <= burst + Fraction(length * limit.limit, limit.window) + extra
                longer = Fraction((length + hold) * limit.limit, limit.window)
                assert count <= burst + longer
            elif length < limit.window:
                assert count <= limit.limit + extra
                assert count <= limit.limit * (1 + -(-hold // limit.window))


@given(**options)
def test_at_most_the_batches_of_each_process_are_lost(limit, share, hold, processes, steps):
    """Whoever asks all the time leaves less than a batch a process unused in every `hold`."""
    taken, used, batch = run(limit, share, hold, processes, steps)
    end = sum(pause for pause, *_ in steps) * UNIT
    periods = end // round(hold * SECOND) + 1
    assert len(taken) - len(used) <= processes * (batch - 1) * periods
