"""The limiter against GCRA written the other way round: a bucket of exact fractions."""

from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from prodkit.policies.rate_limiter import MemoryRateLimitStore, Rate
from prodkit.policies.rate_limiter.limit import SECOND


def finish(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise AssertionError("the memory store suspended")


class Bucket:
    """Holds up to `burst` tokens; one drips in every `interval`."""

    def __init__(self, rate):
        self.size = Fraction(rate.tolerance, rate.interval)
        self.interval = rate.interval
        self.tokens, self.at = self.size, 0

    def take(self, now):
        self.tokens = min(self.size, self.tokens + Fraction(now - self.at, self.interval))
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return (1 - self.tokens) * self.interval


class LimiterMachine(RuleBasedStateMachine):
    @initialize(
        limit=st.integers(1, 1000),
        per=st.sampled_from([0.001, 0.1, 1.0, 1.7, 60.0, 3600.0]),
        burst=st.none() | st.integers(1, 20),
        start=st.integers(0, 10**18),
    )
    def begin(self, limit, per, burst, start):
        self.rate = Rate(limit, per, burst)
        self.now = start
        self.store = MemoryRateLimitStore()
        self.buckets = {}
        self.admitted = {}

    @rule(key=st.sampled_from("abc"), calls=st.integers(1, 30))
    def call(self, key, calls):
        bucket = self.buckets.setdefault(key, Bucket(self.rate))
        for _ in range(calls):
            _, wait, _ = finish(self.store.take(key, (self.rate,), 1, self.now))
            assert wait == bucket.take(self.now)
            if not wait:
                self.admitted.setdefault(key, []).append(self.now)

    @rule(intervals=st.fractions(0, 30))
    def pass_time(self, intervals):
        self.now += int(intervals * self.rate.interval)

    @rule(nanoseconds=st.integers(0, 3))
    def pass_a_moment(self, nanoseconds):
        self.now += nanoseconds

    @invariant()
    def no_window_holds_more_than_burst_and_rate(self):
        if not hasattr(self, "rate"):
            return
        burst = self.rate.tolerance // self.rate.interval
        for times in self.admitted.values():
            for first in range(max(0, len(times) - 40), len(times)):
                window = times[-1] - times[first]
                share = Fraction(window * self.rate.limit, round(self.rate.per * SECOND))
                assert len(times) - first <= burst + share

    @invariant()
    def only_keys_that_spent_are_kept(self):
        if hasattr(self, "store"):
            assert self.store.size <= len(self.buckets)


LimiterMachine.TestCase.settings = settings(stateful_step_count=30)
TestLimiter = LimiterMachine.TestCase
