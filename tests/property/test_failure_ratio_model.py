"""The ring of buckets equals a list of everything that ever happened."""

from hypothesis import given, settings
from hypothesis import strategies as st

from prodkit.policies._circuit import BUCKETS, FailureRatio

steps = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1, 2, 5, 9, 10, 11, 35]), st.booleans()),
    min_size=20,
    max_size=80,
)


@settings(max_examples=300, deadline=None)
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
