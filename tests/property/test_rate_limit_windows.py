"""Limits together, logs, costs and turns, against what may be seen from outside: the windows."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from prodkit.policies.rate_limiter import MemoryRateLimitStore, Rate, SlidingLog
from prodkit.policies.rate_limiter.limit import SECOND

UNIT = SECOND // 1000


def finish(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("the memory store suspended")


def holds(limit, starts):
    """Say whether every window of these starts (one entry a unit of cost) is within `limit`."""
    starts = sorted(starts)
    for first, begin in enumerate(starts):
        if isinstance(limit, SlidingLog):
            if sum(at < begin + limit.window for at in starts[first:]) > limit.limit:
                return False
            continue
        burst = limit.tolerance // limit.interval
        for last in range(first, len(starts)):
            share = Fraction((starts[last] - begin) * limit.limit, limit.window)
            if last - first + 1 > burst + share:
                return False
    return True


durations = st.sampled_from([0.004, 0.01, 0.05, 1.0])
rates = st.builds(Rate, st.integers(1, 8), durations, st.none() | st.integers(1, 8))
logs = st.builds(SlidingLog, st.integers(1, 8), durations)
several = st.lists(rates | logs, min_size=1, max_size=3).map(tuple)
#: Pauses in milliseconds; None: until a nanosecond before what was refused last is admitted.
pauses = st.sampled_from([0, 0, 0, 1, 2, 5, 10, 50, 1000, None])
costs = st.integers(1, 3)
waits = st.sampled_from([0, 0, 7, 60])  # milliseconds that a call may wait
leaves = st.none() | st.integers(0, 3)  # which of those who wait gives up then
steps = st.lists(st.tuples(pauses, costs, waits, leaves), max_size=40)


def quota(limits):
    return min(limit.tolerance // limit.interval for limit in limits)


def later(now, pause, refused):
    return now + (max(refused - 1, 0) if pause is None else pause * UNIT)


@given(limits=several, steps=steps, start=st.integers(0, 10**18))
def test_no_window_of_any_limit_holds_more_whatever_comes_waits_and_gives_up(limits, steps, start):
    store, now, refused, turns, started = MemoryRateLimitStore(), start, 0, [], []
    for pause, wanted, wait, leaves in steps:
        now = later(now, pause, refused)
        cost = min(wanted, quota(limits))
        answer = finish(store.take("key", limits, cost, now, wait * UNIT))
        at, away, *ahead = answer
        assert at == now + away
        if away > wait * UNIT:
            refused = away
        else:
            assert all(value <= limit.tolerance for limit, value in zip(limits, ahead, strict=True))
            assert at >= max((turn[0] for turn, _ in turns), default=0)  # nobody passes
            turns.append((answer, cost))
        started += [turn for turn in turns if turn[0][0] <= now]
        turns = [turn for turn in turns if turn[0][0] > now]
        if leaves is not None and leaves < len(turns):
            turn, cost = turns.pop(leaves)
            finish(store.give_back("key", limits, cost, turn))
    starts = [turn[0] for turn, cost in started + turns for _ in range(cost)]
    assert all(holds(limit, starts) for limit in limits)


@given(limits=several, steps=steps)
def test_a_call_is_admitted_exactly_when_each_limit_by_itself_would_admit_it(limits, steps):
    """Each limit on its own is asked first whether, then told that, so all of them are atomic."""
    together, apart, now = MemoryRateLimitStore(), MemoryRateLimitStore(), 0
    refused = 0
    for pause, wanted, _, _ in steps:
        now = later(now, pause, refused)
        cost = min(wanted, quota(limits))
        waits = []
        for place, limit in enumerate(limits):
            turn = finish(apart.take(str(place), (limit,), cost, now, 0))
            waits.append(turn[1])
            if not turn[1]:  # asked only: as it was
                finish(apart.give_back(str(place), (limit,), cost, turn))
        answer = finish(together.take("key", limits, cost, now, 0))
        assert answer[1] == max(waits)
        refused = answer[1] or refused
        if not answer[1]:
            for place, limit in enumerate(limits):
                told = finish(apart.take(str(place), (limit,), cost, now, 0))
                assert answer[2 + place] == told[2]


@given(log=logs, steps=steps)
def test_a_log_admits_whatever_leaves_its_window_within_the_limit(log, steps):
    """The model: a list of all starts ever, counted anew for each call."""
    store, now, refused, starts = MemoryRateLimitStore(), 0, 0, []
    for pause, wanted, _, _ in steps:
        now = later(now, pause, refused)
        cost = min(wanted, log.limit)
        answer = finish(store.take("key", (log,), cost, now, 0))
        used = sum(at > now - log.window for at in starts)
        assert (answer[1] == 0) == (used + cost <= log.limit)
        if answer[1]:
            refused, then = answer[1], now + answer[1]
            assert sum(at > then - log.window for at in starts) + cost <= log.limit
            assert sum(at > then - 1 - log.window for at in starts) + cost > log.limit
        else:
            starts.extend([now] * cost)
            assert (log.tolerance - answer[2]) // log.interval == log.limit - used - cost


kinds = st.sampled_from([Rate, SlidingLog])


@given(limit=st.integers(1, 40), offset=st.integers(0, 999), kind=kinds)
def test_bursts_around_every_boundary_of_a_window(limit, offset, kind):
    """Scenario 17: all that one can send just before and just after a window's end."""
    store, one, starts = MemoryRateLimitStore(), (kind(limit, per=1.0),), []
    moments = {second * 1000 + ms for second in range(1, 5) for ms in (-offset, -1, 0, 1, offset)}
    for moment in sorted(moments):
        now = moment * UNIT
        answers = [finish(store.take("key", one, 1, now, 0)) for _ in range(limit + 1)]
        starts.extend(now for answer in answers if not answer[1])
    assert holds(one[0], starts)
    assert len(starts) >= 2 * limit
