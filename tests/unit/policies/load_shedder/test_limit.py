import pytest

from prodkit.policies.load_shedder.limit import PROBE_AGAIN, PROBE_EVERY, SAMPLES, ConcurrencyLimit


class Learning:
    """A limit that is shown whole windows of calls that took the same time."""

    def __init__(self, floor=4, ceiling=200, initial=100, tolerance=1.5):
        self.now = 0.0
        self.limit = ConcurrencyLimit(
            floor=floor, ceiling=ceiling, initial=initial, tolerance=tolerance
        )
        for _ in range(SAMPLES):  # the first window, which teaches nothing
            self.limit.completed(0.0, 0.0, 1)

    def window(self, latency, *, used=1.0, drops=0, lags=0):
        """Pass a window of ten calls; return the limit after it."""
        limit, self.now = self.limit, self.now + 1
        in_flight = max(1, round(limit.limit * used))
        for _ in range(lags):
            limit.lagged()
        for _ in range(drops):
            closed = limit.dropped(self.now, in_flight)
        for _ in range(SAMPLES - drops):
            assert limit.limit > 0
            closed = limit.completed(self.now, latency, in_flight)
        assert closed
        return limit.limit

    def calm(self, latency=0.1):
        self.window(latency, used=0.1)

    def use_until_probe(self):
        """Use the limit steadily; return what it was before a probe lowered it."""
        for _ in range(100):
            before = self.limit.limit
            if self.window(0.1) < before:
                return before
        raise AssertionError("no probe came")


class TestWindows:
    @pytest.fixture
    def limit(self):
        return ConcurrencyLimit(floor=4, ceiling=200, initial=100, tolerance=1.5)

    def test_one_needs_ten_calls_and_a_tenth_of_a_second(self, limit):
        closed = [limit.completed(0.0, 0.05, 1) for _ in range(25)]
        assert closed.index(True) == 9
        assert closed.count(True) == 1
        assert limit.completed(0.09, 0.05, 1) is False
        assert limit.completed(0.1, 0.05, 1) is True

    def test_it_lasts_as_long_as_a_call(self, limit):
        for _ in range(SAMPLES):
            limit.completed(0.0, 2.0, 1)
        assert not any(limit.completed(1.9, 2.0, 1) for _ in range(50))
        assert limit.completed(2.0, 2.0, 1)

    def test_dropped_calls_count_towards_it(self, limit):
        assert [limit.dropped(0.0, 1) for _ in range(10)].index(True) == 9
        assert not any(limit.dropped(0.05, 1) for _ in range(20))
        assert limit.dropped(0.1, 1)
        assert limit.latency == 0.0

    def test_the_first_teaches_nothing(self, limit):
        for _ in range(SAMPLES):
            limit.completed(0.0, 0.01, 100)
        assert (limit.limit, limit.baseline, limit.latency) == (100, 0.0, pytest.approx(0.01))


class TestTheGradient:
    def test_a_limit_that_is_not_used_stays(self):
        learning = Learning()
        assert [learning.window(latency, used=0.4) for latency in (0.1, 0.2, 5.0)] == [100] * 3

    def test_half_of_it_is_used(self):
        learning = Learning()
        learning.calm()
        assert learning.window(0.1, used=0.5) == 102

    def test_it_grows_while_it_is_used_and_calls_are_fast(self):
        learning = Learning()
        learning.calm()
        assert learning.window(0.1) == 102
        assert learning.window(0.14) == 104

    def test_it_falls_when_they_take_longer_than_tolerated(self):
        learning = Learning()
        learning.calm()
        assert learning.window(0.3) == 92  # a fifth of the way to half, plus the root
        assert learning.window(30.0) == 84  # never steeper than that

    def test_dropped_calls_take_their_share_off(self):
        few, many = Learning(), Learning()
        few.calm()
        many.calm()
        assert few.window(0.1, drops=1) == 100
        assert many.window(0.1, drops=5) == 92
        assert many.limit.latency == pytest.approx(0.1)  # of those that were not dropped

    def test_where_all_are_dropped_it_falls_to_its_floor(self):
        learning = Learning(floor=30)
        learning.calm()
        limits = [learning.window(0.1, drops=SAMPLES) for _ in range(25)]
        assert limits[:9] == sorted(limits[:9], reverse=True)
        assert limits[-1] == 30
        assert learning.limit.baseline == pytest.approx(0.1)

    def test_calls_that_take_no_time_are_no_error(self):
        learning = Learning()
        learning.calm(0.0)
        assert learning.window(0.0) == 102

    def test_it_stays_below_its_ceiling(self):
        learning = Learning(ceiling=103)
        learning.calm()
        assert [learning.window(0.1) for _ in range(3)] == [102, 103, 103]

    def test_a_late_loop_takes_a_tenth_off_each_time_and_stops_growth(self):
        learning = Learning()
        learning.calm()
        assert learning.window(0.1, lags=1) == 90
        assert learning.window(0.1, lags=2) == 72
        assert learning.window(0.1) == 74

    def test_new_bounds_hold_at_once(self):
        learning = Learning()
        learning.limit.ceiling = 50
        learning.limit.clamp()
        assert learning.limit.limit == 50
        learning.limit.floor = learning.limit.ceiling = 60
        learning.limit.clamp()
        assert learning.limit.limit == 60


class TestTheBaseline:
    def test_it_follows_slowly_while_half_is_free(self):
        learning = Learning()
        learning.calm(0.1)
        learning.calm(0.2)
        assert learning.limit.baseline == pytest.approx(0.11)

    def test_it_learns_nothing_while_the_limit_is_used(self):
        learning = Learning()
        learning.calm(0.1)
        learning.window(0.2)
        learning.window(0.05)
        assert learning.limit.baseline == pytest.approx(0.1)

    def test_it_learns_at_the_floor_where_no_queue_can_be_ours(self):
        learning = Learning(floor=50, initial=50)
        learning.calm(0.1)
        learning.window(0.2)
        assert learning.limit.baseline == pytest.approx(0.11)
        for _ in range(60):
            learning.window(0.2)
        assert learning.limit.baseline > 0.13
        assert learning.limit.limit > 50

    def test_one_that_was_first_seen_under_load_is_looked_at_at_once(self):
        learning = Learning()
        learning.window(0.4)
        assert learning.limit.baseline == pytest.approx(0.4)
        assert learning.window(0.4) == 45  # a probe
        learning.window(0.3)  # drains
        learning.window(0.1)
        assert learning.limit.baseline == pytest.approx(0.25)
        assert learning.limit.limit == 102  # where it was


class TestProbes:
    def test_steady_use_makes_room_to_look_every_30_seconds(self):
        learning = Learning(ceiling=120)
        learning.calm()
        assert learning.use_until_probe() == 120
        assert learning.now == 1 + PROBE_EVERY
        assert learning.limit.limit == 53
        assert learning.window(0.1) == 53  # drains
        assert learning.window(0.12) == 120
        assert learning.limit.baseline == pytest.approx(0.11)
        after = learning.now
        learning.use_until_probe()
        assert learning.now == after + PROBE_EVERY

    def test_what_was_found_to_be_too_high_is_looked_at_again_soon(self):
        learning = Learning()
        learning.calm()
        learning.use_until_probe()
        learning.window(0.1)
        learning.window(0.05)
        assert learning.limit.baseline == pytest.approx(0.075)
        before = learning.now
        learning.use_until_probe()
        assert learning.now == before + PROBE_AGAIN

    def test_a_limit_that_halved_is_looked_at_before_it_falls_further(self):
        learning = Learning(initial=60)
        learning.calm(0.1)
        limits = [learning.window(0.4) for _ in range(13)]
        [probe] = [at for at in range(1, 13) if limits[at] < limits[at - 1] / 2]
        assert 26 < limits[probe - 1] <= 30
        assert limits[probe + 2] == limits[probe - 1]
        assert learning.limit.baseline == pytest.approx(0.25)
        assert learning.now < PROBE_EVERY

    def test_nor_does_it_fall_far_below_where_a_probe_left_it(self):
        learning = Learning(initial=60)
        learning.calm(0.1)
        before = learning.use_until_probe()
        learning.window(0.1)
        limits = [learning.window(0.1)]
        assert limits == [before]
        while len(limits) < 2 or limits[-1] > limits[-2] / 2:
            limits.append(learning.window(0.4))
        assert 0.45 * before < limits[-2] <= before / 2

    def test_a_probe_waits_for_those_that_were_too_many(self):
        learning = Learning(ceiling=120)
        learning.calm()
        learning.use_until_probe()
        assert [learning.window(0.3, used=2) for _ in range(3)] == [53] * 3
        assert learning.limit.baseline == pytest.approx(0.1)
        learning.window(0.1)
        assert learning.window(0.1) == 120

    def test_a_probe_in_which_all_are_dropped_teaches_nothing(self):
        learning = Learning()
        learning.calm()
        learning.use_until_probe()
        learning.window(0.3)
        learning.window(0.3, drops=SAMPLES)
        assert learning.limit.baseline == pytest.approx(0.1)

    def test_a_late_loop_counts_in_a_probe_too(self):
        learning = Learning(ceiling=100)
        learning.calm()
        learning.use_until_probe()
        learning.window(0.1)
        assert learning.window(0.1, lags=3) == 72
