import pytest

from prodkit import Call, Code
from prodkit.errors import CircuitOpenError, NotFoundError, RejectedError, UnavailableError
from prodkit.policies.retry.failures import Failures

CALL = Call("op")


def refused(call):
    return CircuitOpenError("open", call=call, policy="p", measured=1, threshold=1)


@pytest.mark.parametrize(
    ("on", "error", "named"),
    [
        (Code.UNAVAILABLE, UnavailableError("x"), True),
        (Code.UNAVAILABLE, NotFoundError("x"), False),
        (TimeoutError, TimeoutError(), True),
        (Code.UNAVAILABLE, refused(CALL), False),
        (Code.UNAVAILABLE, refused(Call("other")), True),
        (RejectedError, refused(CALL), True),
        (lambda call, error: call is CALL, NotFoundError("x"), True),
        (Code.UNAVAILABLE, None, False),
    ],
)
def test_it_knows_what_is_named(on, error, named):
    assert Failures(on).name(CALL, error) is named


def test_types_may_come_from_an_iterator():
    assert Failures(iter([LookupError, Code.ABORTED])).name(CALL, KeyError())
