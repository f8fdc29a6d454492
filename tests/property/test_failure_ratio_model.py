"""The ring of buckets equals a list of everything that ever happened."""

from hypothesis import given
from hypothesis import strategies as st

from prodkit.policies.circuit_breaker.windows import BUCKETS, FailureRatio

steps = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 2, 5, 9, 10, 11, 35]), st.booleans()),
    min_size=20,
    max_size=80,
)


@given(steps=steps, threshold=st.sampled_from([0.1, 0.5, 0.8]), minimum=st.integers(1, 6))
def test_15_the_window_equals_a_list(steps, threshold, minimum):
    window, seen, now = FailureRatio(threshold, minimum, duration=float(BUCKETS)), [], 1000.0
    for seconds, failed in steps:
        now += seconds
        seen.append((now, failed))
        if not failed:
            window.succeeded(now)
            continue
        recent = [f for at, f in seen if at > now - BUCKETS]
        ratio = sum(recent) / len(recent)
        tripped = len(recent) >= minimum and ratio >= threshold
        assert window.failed(now) == (ratio if tripped else None)


@given(steps=steps, longer=st.booleans(), factor=st.sampled_from([1.5, 2.0, 3.0, 7.0]))
def test_15_another_duration_keeps_what_it_covers(steps, longer, factor):
    duration = BUCKETS * factor if longer else BUCKETS / factor
    window, seen, now = FailureRatio(1e-9, 1, duration=float(BUCKETS)), [], 1000.0
    for seconds, failed in steps:
        now += seconds
        seen.append((now, failed))
        (window.failed if failed else window.succeeded)(now)
    window.change(1e-9, 1, duration)
    window.failed(now)
    total = window._total_before + window._succeeded + window._failed - 1
    old = sum(at > now - BUCKETS for at, _ in seen)
    surely = sum(at > now - BUCKETS and at > now - duration * 0.9 + 1 for at, _ in seen)
    assert surely <= total <= old
    if longer:
        assert total == old
    assert window._failed_before + window._failed - 1 <= sum(failed for _, failed in seen)
