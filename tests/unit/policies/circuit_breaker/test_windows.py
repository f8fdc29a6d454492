import pytest

from prodkit.policies.circuit_breaker.windows import ConsecutiveFailures, FailureRatio


class TestConsecutiveFailures:
    def test_trips_on_as_many_in_a_row(self):
        window = ConsecutiveFailures(3)
        assert [window.failed(0.0) for _ in range(3)] == [None, None, 3]

    def test_a_success_or_clearing_starts_anew(self):
        window = ConsecutiveFailures(2)
        window.failed(0.0)
        window.succeeded(0.0)
        assert window.failed(0.0) is None
        window.clear()
        assert window.failed(0.0) is None


class TestFailureRatio:
    def test_trips_at_the_ratio_once_there_are_enough_calls(self):
        window = FailureRatio(0.5, minimum=4, duration=10.0)
        window.succeeded(0.0)
        window.succeeded(0.0)
        assert window.failed(0.0) is None  # 1 of 3
        assert window.failed(0.0) == 0.5

    def test_too_few_calls_never_trip(self):
        window = FailureRatio(0.5, minimum=4, duration=10.0)
        assert [window.failed(0.0) for _ in range(4)] == [None, None, None, 1.0]

    def test_a_ratio_that_binary_fractions_miss_is_still_reached(self):
        window = FailureRatio(0.1, minimum=30, duration=10.0)
        for _ in range(27):
            window.succeeded(0.0)
        assert [window.failed(0.0) for _ in range(3)] == [None, None, 0.1]

    def test_all_calls_of_a_bucket_count(self):
        window = FailureRatio(0.5, minimum=1, duration=10.0)
        for tick in range(8):
            window.succeeded(100.1 + tick / 10)
        assert window.failed(100.95) is None
        assert [window.failed(102.0) for _ in range(7)] == [*[None] * 6, 0.5]  # 8 of 16

    def test_the_window_moves_by_a_tenth(self):
        window = FailureRatio(1.0, minimum=2, duration=10.0)
        window.failed(100.5)
        assert window.failed(109.9) == 1.0  # the bucket from 100 to 101 is still in it
        assert window.failed(110.0) == 1.0  # now it is out, the one of 109.9 is in
        assert window.failed(119.0) == 1.0
        assert window.failed(129.0) is None

    @pytest.mark.parametrize("later", [109.0, 110.0, 111.0, 119.0, 120.0, 1e6])
    def test_old_counts_are_dropped_however_long_nobody_called(self, later):
        window = FailureRatio(0.5, minimum=3, duration=10.0)
        window.failed(100.0)
        window.succeeded(later)
        assert window.failed(later) == (2 / 3 if later == 109.0 else None)

    def test_clearing_forgets(self):
        window = FailureRatio(0.5, minimum=2, duration=10.0)
        window.failed(100.0)
        window.clear()
        assert window.failed(100.0) is None

    def test_the_ring_is_made_when_a_first_bucket_is_full(self):
        window = FailureRatio(0.5, minimum=2, duration=10.0)
        window.succeeded(1e6)
        assert window._ring is None
        window.succeeded(1e6 + 1)
        assert window._ring is not None


class TestAnotherDuration:
    def window(self):
        window = FailureRatio(1.0, minimum=4, duration=10.0)
        for at in (100.0, 104.0, 109.0):
            window.failed(at)
        return window

    @pytest.mark.parametrize("duration", [10.0, 20.0, 600.0])
    def test_as_long_or_longer_keeps_all(self, duration):
        window = self.window()
        window.change(0.5, 4, duration)
        assert window.failed(109.0) == 1.0

    def test_shorter_keeps_what_it_covers(self):
        window = self.window()
        window.change(0.5, 3, 6.0)
        assert window.failed(109.0) == 1.0  # 104 and 109 are in it, 100 is not
        window.change(0.5, 4, 6.0)
        assert window.failed(109.0) == 1.0
        assert window.failed(112.0) == 1.0  # without 104: three of 109, and this one
        assert window.failed(120.0) is None

    def test_shorter_forgets_what_it_does_not_cover(self):
        window = FailureRatio(1.0, minimum=1, duration=20.0)
        window.succeeded(100.0)
        window.failed(108.0)
        window.change(1.0, 1, 6.0)
        assert window.failed(108.5) == 1.0
        window.succeeded(109.0)
        assert window.failed(113.0) is None
        assert window.failed(115.5) == 1.0

    def test_shorter_remembers_what_it_covers(self):
        window = FailureRatio(1.0, minimum=1, duration=20.0)
        window.succeeded(100.0)
        window.succeeded(108.0)
        window.change(1.0, 1, 6.0)
        assert window.failed(108.5) is None
        assert window.failed(116.0) == 1.0

    def test_buckets_that_become_one_are_added(self):
        window = FailureRatio(0.1, minimum=1, duration=6.0)
        for at in (100.0, 100.7, 101.3):
            window.succeeded(at)
        window.change(0.1, 1, 60.0)
        assert window.failed(102.0) == 0.25
        assert window.failed(130.0) == 0.4

    def test_longer_remembers_for_longer(self):
        window = FailureRatio(1.0, minimum=1, duration=6.0)
        window.succeeded(100.0)
        window.failed(104.0)
        window.change(1.0, 1, 20.0)
        assert window.failed(117.0) is None
        assert window.failed(120.0) == 1.0

    def test_successes_are_kept_as_such(self):
        window = FailureRatio(0.1, minimum=4, duration=10.0)
        for at in (100.0, 101.0, 102.0):
            window.succeeded(at)
        window.change(0.1, 4, 30.0)
        assert window.failed(102.0) == 0.25

    def test_one_that_counted_nothing_yet(self):
        window = FailureRatio(1.0, minimum=1, duration=10.0)
        window.change(1.0, 1, 5.0)
        assert window.failed(100.0) == 1.0
