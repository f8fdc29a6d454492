import pytest

from prodkit.policies._circuit import Circuit, ConsecutiveFailures, FailureRatio, State


def make(window=None, *, probes=1, probe_timeout=30.0):
    return Circuit(
        window or ConsecutiveFailures(1),
        break_duration=5.0,
        half_open_probes=probes,
        probe_timeout=probe_timeout,
    )


def opened(**options):
    circuit = make(**options)
    assert circuit.failed(circuit.admit(0.0), 0.0)
    return circuit


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


class TestCircuit:
    def test_closed_admits_all_with_one_ticket(self):
        circuit = make()
        assert circuit.admit(0.0) == circuit.admit(1.0) is not None
        assert circuit.state is State.CLOSED

    def test_open_admits_nobody_until_the_break_is_over(self):
        circuit = opened()
        assert circuit.state is State.OPEN
        assert circuit.admit(4.999) is None
        assert circuit.retry_after(4.0) == 1.0
        assert circuit.admit(5.0) is not None
        assert circuit.state is State.HALF_OPEN

    def test_half_open_admits_exactly_its_probes(self):
        circuit = opened(probes=3)
        tickets = [circuit.admit(5.0) for _ in range(10)]
        assert len({t for t in tickets if t is not None}) == 3
        assert tickets[3:] == [None] * 7

    def test_a_success_keeps_its_permit_so_that_no_more_are_admitted(self):
        circuit = opened(probes=2)
        first, _second = circuit.admit(5.0), circuit.admit(5.0)
        assert circuit.succeeded(first, 5.0) is False
        assert circuit.admit(5.0) is None

    def test_it_closes_when_all_probes_succeeded(self):
        circuit = opened(probes=2)
        tickets = [circuit.admit(5.0), circuit.admit(5.0)]
        assert [circuit.succeeded(t, 6.0) for t in tickets] == [False, True]
        assert circuit.state is State.CLOSED

    def test_one_failed_probe_opens_it_for_another_break(self):
        circuit = opened(probes=2)
        first, second = circuit.admit(5.0), circuit.admit(5.0)
        assert circuit.failed(first, 6.0) is True
        assert circuit.succeeded(second, 6.0) is False
        assert circuit.state is State.OPEN
        assert circuit.admit(10.9) is None
        assert circuit.admit(11.0) is not None

    def test_14_a_cancelled_probe_gives_its_permit_back(self):
        circuit = opened()
        circuit.withdrawn(circuit.admit(5.0))
        assert circuit.state is State.HALF_OPEN
        assert circuit.admit(5.0) is not None

    def test_14_a_stuck_probe_loses_its_permit_and_its_say(self):
        circuit = opened(probe_timeout=10.0)
        stuck = circuit.admit(5.0)
        assert circuit.admit(14.9) is None
        probe = circuit.admit(15.0)
        assert probe is not None
        assert circuit.failed(stuck, 15.0) is False
        assert circuit.succeeded(stuck, 15.0) is False
        assert circuit.state is State.HALF_OPEN
        assert circuit.succeeded(probe, 16.0) is True

    def test_14_a_result_after_the_probe_timeout_is_too_late_even_if_nobody_came(self):
        circuit = opened(probe_timeout=10.0)
        assert circuit.succeeded(circuit.admit(5.0), 15.0) is False
        assert circuit.admit(15.0) is not None

    def test_14_only_stuck_probes_lose_their_permits(self):
        circuit = opened(probes=2, probe_timeout=10.0)
        circuit.admit(5.0)
        circuit.admit(10.0)
        assert [circuit.admit(15.0) is None for _ in range(2)] == [False, True]

    def test_14_calls_admitted_while_closed_never_count_later(self):
        circuit = make()
        early = [circuit.admit(0.0) for _ in range(4)]
        circuit.failed(early[0], 0.0)
        assert circuit.succeeded(early[1], 1.0) is False
        assert circuit.state is State.OPEN
        circuit.withdrawn(early[1])
        probe = circuit.admit(5.0)
        assert circuit.succeeded(early[2], 5.0) is circuit.failed(early[3], 5.0) is False
        assert circuit.admit(5.0) is None  # no permit was added
        assert circuit.succeeded(probe, 5.0) is True
        assert circuit.failed(early[3], 5.0) is False
        assert circuit.state is State.CLOSED

    def test_14_a_late_success_does_not_excuse_failures_of_a_newer_state(self):
        circuit = make(ConsecutiveFailures(2))
        late = circuit.admit(0.0)
        circuit.reset()
        circuit.failed(circuit.ticket, 0.0)
        circuit.succeeded(late, 0.0)
        assert circuit.failed(circuit.ticket, 0.0) is True

    def test_closing_forgets_the_failures_before(self):
        circuit = make(ConsecutiveFailures(2))
        circuit.failed(circuit.ticket, 0.0)
        circuit.failed(circuit.ticket, 0.0)
        circuit.succeeded(circuit.admit(5.0), 5.0)
        assert circuit.failed(circuit.ticket, 5.0) is False

    def test_isolated_admits_nobody_until_reset(self):
        circuit = make()
        circuit.isolate()
        assert circuit.admit(1e9) is None
        assert circuit.retry_after(1e9) is None
        circuit.reset()
        assert circuit.admit(0.0) is not None
        assert circuit.measured == 0.0

    def test_half_open_the_advice_is_a_break_or_until_the_oldest_permit_is_revoked(self):
        circuit = opened(probe_timeout=30.0)
        circuit.admit(5.0)
        assert circuit.retry_after(5.0) == 5.0
        assert circuit.retry_after(32.0) == 3.0
