from datetime import timedelta

import pytest

from prodkit.errors import ConfigurationError
from prodkit.policies.rate_limiter import Rate, SlidingLog


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1, "per": 0}, "per"),
        ({"limit": 1, "per": float("inf")}, "per"),
        ({"limit": 1, "burst": 0}, "burst"),
        ({"limit": "5"}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"limit": 1, "burst": 2.5}, "burst"),
        ({"limit": 1, "per": True}, "per"),
        ({"limit": 1, "name": ""}, "name"),
        ({"limit": 1, "name": 'a"b'}, "name"),
        ({"limit": 1, "name": 5}, "name"),
    ],
)
def test_a_rate_that_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ValueError, match=named):
        Rate(**options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": float("nan")}, "limit"),
        ({"limit": 1, "per": 0}, "per"),
        ({"limit": 1, "per": float("nan")}, "per"),
        ({"limit": 1, "name": "a\r\nb"}, "name"),
    ],
)
def test_a_log_that_cannot_be_is_refused_by_name(options, named):
    with pytest.raises(ConfigurationError, match=named):
        SlidingLog(**options)


def test_a_duration_may_be_a_timedelta():
    minute = timedelta(minutes=1)
    assert Rate(5, per=minute).tolerance == Rate(5, per=60.0).tolerance
    assert SlidingLog(5, per=minute).window == SlidingLog(5, per=60.0).window


def test_limits_read_as_what_they_mean():
    assert str(Rate(100, per=1.0)) == "100 calls in 1 s"
    assert str(Rate(100, per=3600, burst=10)) == "100 calls in 3600 s or 10 at once"
    assert str(SlidingLog(5, per=0.5)) == "5 calls in any 0.5 s"
    assert str(Rate(1, per=60)) == "1 call in 60 s"
    assert str(SlidingLog(1, per=60)) == "1 call in any 60 s"
