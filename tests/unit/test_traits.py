from math import inf

import pytest

from prodkit import Trait
from prodkit.traits import (
    attempts_of,
    exceptions_of,
    limit_of,
    longest_wait_of,
    name_of,
    slow_after_of,
    traits_of,
)


class Member:
    def __init__(self, traits=Trait.NONE, **numbers):
        self.traits = traits
        vars(self).update(numbers)


def test_what_is_not_a_trait_is_none():
    assert traits_of(Member("REPEATS")) is Trait.NONE
    assert traits_of(object()) is Trait.NONE
    assert traits_of(Member(Trait.BREAKS)) is Trait.BREAKS


@pytest.mark.parametrize("trait", [Trait.LIMITS_CALL, Trait.LIMITS_ATTEMPT])
def test_a_limit_is_that_of_what_limits(trait):
    assert limit_of(Member(trait, limit=2.0)) == 2.0
    assert limit_of(Member(trait)) == inf
    assert limit_of(Member(limit=2.0)) == inf  # some other kind of limit


def test_attempts_follow_one_another():
    assert attempts_of(Member(Trait.REPEATS, attempts=3)) == 3
    assert attempts_of(Member(Trait.REPEATS)) == 1
    assert attempts_of(Member(Trait.REPEATS | Trait.CONCURRENT, attempts=3)) == 1
    assert attempts_of(Member(attempts=3)) == 1


def test_a_wait_is_that_of_what_waits():
    assert longest_wait_of(Member(Trait.QUEUES, longest_wait=inf)) == inf
    assert longest_wait_of(Member(Trait.REPEATS, longest_wait=4)) == 4
    assert longest_wait_of(Member(Trait.QUEUES, longest_wait="long")) == 0.0
    assert longest_wait_of(Member(longest_wait=4)) == 0.0


@pytest.mark.parametrize("trait", [Trait.BREAKS, Trait.CONCURRENT])
def test_slow_is_what_a_breaker_or_a_hedge_takes_for_it(trait):
    assert slow_after_of(Member(trait, slow_after=2.0)) == 2.0
    assert slow_after_of(Member(trait, slow_after=None)) == slow_after_of(Member(trait)) == inf
    assert slow_after_of(Member(slow_after=2.0)) == inf


def test_exceptions_are_the_types_among_what_is_named():
    assert exceptions_of(Member(exceptions=(KeyError, OSError))) == (KeyError, OSError)
    assert exceptions_of(Member(exceptions=(KeyError, "OSError"))) == (KeyError,)
    assert exceptions_of(Member(exceptions="KeyError")) == exceptions_of(Member()) == ()


def test_a_member_is_called_by_its_class_or_its_own_name():
    assert name_of(Member()) == "Member"
    assert name_of(test_a_member_is_called_by_its_class_or_its_own_name).startswith("test_a_")
