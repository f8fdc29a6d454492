from itertools import islice
from random import Random

import pytest

from prodkit.policies.retry import Backoff

LONGEST, SHORTEST = (lambda: 0.0), (lambda: 1.0)


def backoff(strategy, initial=1.0, longest=10.0, jitter=1.0):
    return Backoff(strategy, wait_initial=initial, wait_max=longest, wait_jitter=jitter)


def waits(strategy, random, count=5, **options):
    return list(islice(backoff(strategy, **options).waits(random), count))


@pytest.mark.parametrize(
    ("strategy", "longest", "shortest"),
    [
        ("constant", [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]),
        ("exponential", [1, 2, 4, 8, 10], [0, 0, 0, 0, 0]),
        ("decorrelated", [3, 9, 10, 10, 10], [1, 1, 1, 1, 1]),
    ],
)
def test_chance_decides_within_a_range(strategy, longest, shortest):
    assert waits(strategy, LONGEST) == longest
    assert waits(strategy, SHORTEST) == shortest
    assert waits(strategy, SHORTEST, jitter=0.0) == longest


@pytest.mark.parametrize("strategy", ["constant", "exponential"])
def test_half_the_jitter_leaves_half_to_chance(strategy):
    assert waits(strategy, SHORTEST, count=1, jitter=0.5) == [0.5]


@pytest.mark.parametrize("strategy", ["constant", "exponential", "decorrelated"])
class TestAll:
    def test_none_is_above_the_most_or_below_zero(self, strategy):
        drawn = waits(strategy, Random(7).random, count=2000)
        assert 0 <= min(drawn) <= max(drawn) <= 10.0

    def test_each_call_begins_anew(self, strategy):
        both = backoff(strategy)
        assert next(both.waits(LONGEST)) == next(both.waits(LONGEST))

    @pytest.mark.parametrize("count", [0, 1, 2, 7])
    def test_the_longest_is_the_sum_without_luck(self, strategy, count):
        assert backoff(strategy).longest(count) == sum(waits(strategy, LONGEST, count=count))

    def test_any_number_of_waits_is_summed_at_once(self, strategy):
        assert backoff(strategy).longest(10**12) == pytest.approx(
            1e12 if strategy == "constant" else 1e13
        )
