import pytest

from prodkit.policies.circuit_breaker.circuit import Change, Circuit, State
from prodkit.policies.circuit_breaker.options import Options


def make(**options):
    return Circuit(Options(**{"consecutive_failures": 1, "break_duration": 5.0, **options}))


def opened(**options):
    """Return a circuit that a failure opened at 0; it may try from 5 on."""
    circuit = make(**options)
    circuit.failed(circuit.admit(0.0), 0.0)
    assert circuit.state is State.OPEN
    circuit.untold = ()
    return circuit


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
        circuit = opened(half_open_probes=3)
        tickets = [circuit.admit(5.0) for _ in range(10)]
        assert len({t for t in tickets if t is not None}) == 3
        assert tickets[3:] == [None] * 7

    def test_a_success_keeps_its_permit_so_that_no_more_are_admitted(self):
        circuit = opened(half_open_probes=2)
        first, _second = circuit.admit(5.0), circuit.admit(5.0)
        circuit.succeeded(first, 5.0)
        assert circuit.state is State.HALF_OPEN
        assert circuit.admit(5.0) is None

    def test_it_closes_when_all_probes_succeeded(self):
        circuit = opened(half_open_probes=2)
        first, second = circuit.admit(5.0), circuit.admit(5.0)
        circuit.succeeded(first, 6.0)
        assert circuit.state is State.HALF_OPEN
        circuit.succeeded(second, 6.0)
        assert circuit.state is State.CLOSED
        assert circuit.untold == (Change.HALF_OPENED, Change.CLOSED)

    def test_one_failed_probe_opens_it_for_another_break(self):
        circuit = opened(half_open_probes=2)
        first, second = circuit.admit(5.0), circuit.admit(5.0)
        circuit.failed(first, 6.0)
        circuit.succeeded(second, 6.0)
        assert circuit.state is State.OPEN
        assert circuit.untold == (Change.HALF_OPENED, Change.OPENED)
        assert circuit.admit(10.9) is None
        assert circuit.admit(11.0) is not None

    def test_14_a_cancelled_probe_gives_its_permit_back(self):
        circuit = opened()
        circuit.withdrawn(circuit.admit(5.0))
        assert circuit.state is State.HALF_OPEN
        assert circuit.admit(5.0) is not None

    def test_14_hung_probes_hold_it_half_open_no_longer_than_the_probe_timeout(self):
        circuit = opened(half_open_probes=2, probe_timeout=10.0)
        hung = [circuit.admit(5.0), circuit.admit(6.0)]
        assert circuit.admit(14.9) is None
        assert circuit.state is State.HALF_OPEN
        assert circuit.admit(15.0) is None
        assert circuit.state is State.OPEN
        assert circuit.untold == (Change.HALF_OPENED, Change.OPENED)
        for ticket in hung:  # what they say later is of an older state
            circuit.succeeded(ticket, 16.0)
        assert circuit.state is State.OPEN
        assert circuit.retry_after(16.0) == 4.0

    def test_14_after_a_break_that_nobody_saw_the_next_call_is_a_probe(self):
        circuit = opened(probe_timeout=10.0)
        circuit.admit(5.0)
        assert circuit.admit(20.0) is not None  # it opened at 15, and that break is over
        assert circuit.state is State.HALF_OPEN
        assert circuit.untold == (Change.HALF_OPENED, Change.OPENED, Change.HALF_OPENED)
        assert circuit.probes_out == 1

    @pytest.mark.parametrize("told", [Circuit.succeeded, Circuit.failed])
    def test_14_a_result_after_the_probe_timeout_is_too_late_even_if_nobody_came(self, told):
        circuit = opened(probe_timeout=10.0)
        told(circuit, circuit.admit(5.0), 15.5)
        assert circuit.state is State.OPEN
        assert circuit.retry_after(15.5) == 4.5

    def test_14_a_hung_probe_that_is_cancelled_gives_its_permit_back(self):
        circuit = opened(probe_timeout=10.0)
        circuit.withdrawn(circuit.admit(5.0))
        assert circuit.admit(20.0) is not None
        assert circuit.untold == (Change.HALF_OPENED,)

    def test_14_calls_admitted_while_closed_never_count_later(self):
        circuit = make()
        early = [circuit.admit(0.0) for _ in range(4)]
        circuit.failed(early[0], 0.0)
        circuit.succeeded(early[1], 1.0)
        assert circuit.state is State.OPEN
        circuit.withdrawn(early[1])
        probe = circuit.admit(5.0)
        circuit.succeeded(early[2], 5.0)
        circuit.failed(early[3], 5.0)
        assert circuit.state is State.HALF_OPEN
        assert circuit.admit(5.0) is None  # no permit was added
        circuit.succeeded(probe, 5.0)
        circuit.failed(early[3], 5.0)
        assert circuit.state is State.CLOSED

    def test_14_a_late_success_does_not_excuse_failures_of_a_newer_state(self):
        circuit = make(consecutive_failures=2)
        late = circuit.admit(0.0)
        circuit.reset()
        circuit.failed(circuit.ticket, 0.0)
        circuit.succeeded(late, 0.0)
        circuit.failed(circuit.ticket, 0.0)
        assert circuit.state is State.OPEN

    def test_closing_forgets_the_failures_before(self):
        circuit = make(consecutive_failures=2)
        circuit.failed(circuit.ticket, 0.0)
        circuit.failed(circuit.ticket, 0.0)
        circuit.succeeded(circuit.admit(5.0), 5.0)
        circuit.failed(circuit.ticket, 5.0)
        assert circuit.state is State.CLOSED

    def test_isolated_admits_nobody_until_reset(self):
        circuit = opened()
        circuit.isolate()
        assert circuit.admit(1e9) is None
        assert circuit.retry_after(1e9) is None
        assert circuit.measured == circuit.threshold == 0.0
        circuit.reset()
        assert circuit.admit(0.0) is not None

    def test_what_nobody_took_is_no_news_after_the_next_act_by_hand(self):
        circuit = make()
        for _ in range(3):
            circuit.isolate()
            circuit.isolate()
            assert circuit.untold == (Change.ISOLATED,)
            circuit.reset()
            circuit.reset()
            assert circuit.untold == (Change.RESET,)

    def test_resetting_a_closed_circuit_forgets_and_is_no_change(self):
        circuit = make(consecutive_failures=2)
        circuit.failed(circuit.ticket, 0.0)
        circuit.reset()
        circuit.failed(circuit.ticket, 0.0)
        assert circuit.state is State.CLOSED
        assert circuit.untold == ()

    def test_half_open_the_advice_is_a_break(self):
        circuit = opened()
        circuit.admit(5.0)
        assert circuit.retry_after(32.0) == 5.0


class TestSlowCalls:
    def make(self, **options):
        limits = {"slow_call_duration": 1.0, "slow_call_ratio": 0.5, "minimum_throughput": 4}
        return make(**{"consecutive_failures": None, **limits, **options})

    def test_slow_successes_open_it(self):
        circuit = self.make()
        for slow in (False, False, True, True):
            circuit.succeeded(circuit.ticket, 0.0, slow)
        assert circuit.state is State.OPEN
        assert (circuit.measured, circuit.threshold, circuit.slow) == (0.5, 0.5, True)

    def test_slow_failures_count_as_slow_too(self):
        circuit = self.make(failure_ratio=1.0)
        circuit.succeeded(circuit.ticket, 0.0, slow=False)
        for _ in range(3):
            circuit.failed(circuit.ticket, 0.0, slow=True)
        assert (circuit.measured, circuit.slow) == (0.75, True)

    def test_failures_open_it_as_failures(self):
        circuit = self.make()
        for _ in range(4):
            circuit.failed(circuit.ticket, 0.0, slow=True)
        assert (circuit.measured, circuit.slow) == (1.0, False)

    def test_slow_calls_have_their_ratio_beside_failures_in_a_row(self):
        circuit = self.make(consecutive_failures=3)
        for _ in range(4):
            circuit.succeeded(circuit.ticket, 0.0, slow=True)
        assert (circuit.state, circuit.slow) == (State.OPEN, True)

    def test_a_slow_probe_has_failed(self):
        circuit = opened()
        circuit.succeeded(circuit.admit(5.0), 6.0, slow=True)
        assert circuit.state is State.OPEN

    def test_what_was_slow_before_is_forgotten_once_it_closes(self):
        circuit = self.make()
        for _ in range(4):
            circuit.succeeded(circuit.ticket, 0.0, slow=True)
        circuit.succeeded(circuit.admit(5.0), 5.0)
        for _ in range(3):
            circuit.succeeded(circuit.ticket, 5.0, slow=True)
        assert circuit.state is State.CLOSED


class TestGrowth:
    def breaks(self, circuit, times):
        """Fail that many probes; return how long each break was."""
        now, seen = 0.0, []
        for _ in range(times):
            seen.append(circuit.retry_after(now))
            now += seen[-1]
            circuit.failed(circuit.admit(now), now)
        self.now = now
        return seen

    def test_each_break_after_failed_probes_is_longer_up_to_the_longest(self):
        circuit = opened(break_growth=2.0, break_max=30.0)
        assert self.breaks(circuit, 5) == [5.0, 10.0, 20.0, 30.0, 30.0]

    def test_without_growth_all_are_the_same(self):
        assert self.breaks(opened(), 3) == [5.0, 5.0, 5.0]

    def test_hung_probes_let_it_grow_too(self):
        circuit = opened(break_growth=2.0, probe_timeout=10.0)
        circuit.admit(5.0)
        assert circuit.admit(15.0) is None
        assert circuit.retry_after(15.0) == 10.0

    @pytest.mark.parametrize("by_hand", [True, False])
    def test_it_begins_anew_once_it_closed(self, by_hand):
        circuit = opened(break_growth=2.0)
        self.breaks(circuit, 2)
        if by_hand:
            circuit.reset()
        else:
            circuit.succeeded(circuit.admit(self.now + 20.0), self.now + 20.0)
        circuit.failed(circuit.ticket, 100.0)
        assert circuit.retry_after(100.0) == 5.0


class TestReconfigure:
    def test_what_was_counted_counts_under_the_new_limits(self):
        circuit = make(consecutive_failures=5)
        circuit.failed(circuit.ticket, 0.0)
        circuit.reconfigure(Options(consecutive_failures=2))
        circuit.failed(circuit.ticket, 0.0)
        assert (circuit.measured, circuit.threshold) == (2, 2)

    def test_a_ratio_too(self):
        circuit = make(consecutive_failures=None, minimum_throughput=100)
        for _ in range(3):
            circuit.failed(circuit.ticket, 0.0)
        circuit.reconfigure(Options(minimum_throughput=4, failure_ratio=0.9))
        circuit.failed(circuit.ticket, 0.0)
        assert (circuit.measured, circuit.threshold) == (1.0, 0.9)

    def test_slow_calls_can_be_timed_from_then_on_and_their_limit_moved(self):
        circuit = make(consecutive_failures=9)
        timed = {"consecutive_failures": 9, "slow_call_duration": 1.0}
        circuit.reconfigure(Options(**timed, minimum_throughput=100))
        circuit.succeeded(circuit.ticket, 0.0, slow=True)
        circuit.reconfigure(Options(**timed, minimum_throughput=2, slow_call_ratio=0.8))
        circuit.succeeded(circuit.ticket, 0.0, slow=True)
        assert (circuit.measured, circuit.threshold, circuit.slow) == (1.0, 0.8, True)

    def test_a_break_under_way_keeps_its_length_and_the_next_one_is_new(self):
        circuit = opened()
        circuit.reconfigure(Options(consecutive_failures=1, break_duration=60.0))
        assert circuit.admit(4.9) is None
        circuit.failed(circuit.admit(5.0), 5.0)
        assert circuit.retry_after(5.0) == 60.0

    def test_as_many_probes_as_are_now_enough_close_it(self):
        circuit = opened(half_open_probes=3)
        circuit.succeeded(circuit.admit(5.0), 5.0)
        circuit.reconfigure(Options(consecutive_failures=1, half_open_probes=1))
        assert circuit.state is State.CLOSED
        assert circuit.untold == (Change.HALF_OPENED, Change.CLOSED)

    def test_more_probes_may_try_at_once(self):
        circuit = opened()
        circuit.admit(5.0)
        circuit.reconfigure(Options(consecutive_failures=1, half_open_probes=2))
        assert [circuit.admit(5.0) is None for _ in range(2)] == [False, True]
