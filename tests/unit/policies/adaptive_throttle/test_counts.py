import random

from prodkit.policies.adaptive_throttle.counts import BUCKETS, Counts


def test_it_counts_requests_and_accepts():
    counts = Counts(1.0)
    counts.count(1, 1000.0)
    counts.count(0, 1000.5)
    assert (counts.requests, counts.accepts) == (2, 1)


def test_what_is_a_window_old_is_dropped_when_time_moves():
    counts = Counts(1.0)
    counts.count(1, 1000.0)
    counts.count(1, 1005.0)
    counts.move(1009.9)
    assert counts.requests == 2
    counts.move(1010.0)
    assert (counts.requests, counts.accepts) == (1, 1)
    counts.move(5000.0)
    assert (counts.requests, counts.accepts) == (0, 0)


def test_it_equals_a_list_of_everything():
    source, counts, now, everything = random.Random(7), Counts(0.5), 100.0, []
    for _ in range(2_000):
        now += source.choice([0.0, 0.01, 0.2, 0.5, 3.0]) * source.random()
        accepted = source.randrange(2)
        counts.count(accepted, now)
        everything.append((now // 0.5, accepted))
        recent = [a for bucket, a in everything if bucket > now // 0.5 - BUCKETS]
        assert (counts.requests, counts.accepts) == (len(recent), sum(recent))
