from random import Random

import pytest

from prodkit.policies.hedge import LatencyPercentile


def measured(*latencies, percentile=0.5, window=6.0, now=0.0):
    latency = LatencyPercentile(percentile, window)
    for seconds in latencies:
        latency.record(seconds, now)
    return latency


def test_of_nothing_there_is_no_percentile():
    assert measured().value(0.0) is None


def test_of_too_few_neither():
    few = measured(0.1, 0.1)
    assert few.value(0.0, at_least=3) is None
    assert few.value(0.0, at_least=2) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_too_low_and_a_twentieth_too_high(percentile, seed):
    random = Random(seed)
    drawn = sorted(random.lognormvariate(-4, 1.5) for _ in range(5000))
    answer = measured(*drawn, percentile=percentile).value(0.0)
    exact = drawn[round(5000 * percentile) - 1]
    assert exact <= answer * 1.0000001
    assert answer <= exact * 1.05 * 1.0000001


@pytest.mark.parametrize(("latency", "answer"), [(0.0, 1e-4), (1e-9, 1e-4), (1e9, 1030.0)])
def test_what_is_outside_of_its_range_counts_at_the_edge(latency, answer):
    assert measured(latency).value(0.0) == pytest.approx(answer, rel=0.05)


def test_it_forgets_what_is_older_than_the_window():
    latency = measured(*[1.0] * 10)
    for _ in range(10):
        latency.record(0.01, 3.0)
    assert latency.value(5.9, at_least=20) is not None
    assert latency.value(6.0, at_least=11) is None
    assert latency.value(6.0) == pytest.approx(0.01, rel=0.05)
    assert latency.value(1000.0) is None


def test_it_follows_a_change():
    latency = LatencyPercentile(0.9, 6.0)
    for tick in range(1200):
        now = tick / 100
        latency.record(0.01 if now < 6 else 0.5, now)
    assert latency.value(11.99) == pytest.approx(0.5, rel=0.05)


def test_it_follows_within_a_slice_too():
    latency = measured(*[0.01] * 200)
    assert latency.value(0.0) == pytest.approx(0.01, rel=0.05)
    for _ in range(201):
        latency.record(0.5, 0.0)
    assert latency.value(0.0) == pytest.approx(0.5, rel=0.05)


def test_another_percentile_is_of_the_same_calls():
    latency = measured(*[0.01] * 80, *[1.0] * 20)
    assert latency.value(0.0) == pytest.approx(0.01, rel=0.05)
    latency.ask(0.9)
    assert latency.value(0.0) == pytest.approx(1.0, rel=0.05)
