import pytest

from prodkit import Call, Kind
from prodkit.call import CURRENT
from prodkit.errors import UnauthenticatedError
from prodkit.security.credentials import ServiceCredentials, forward_caller
from prodkit.security.tokens import KeySet, TokenVerifier
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio


async def test_a_service_shows_its_own_token_and_renews_it_at_half_life():
    clock, keys = ManualClock(), KeySet.generate()
    credentials = ServiceCredentials("orders", keys, audience="shop", lifetime=120, clock=clock)
    verifier = TokenVerifier({"service:orders": keys}, audience="shop", leeway=0, clock=clock)
    first = credentials()
    assert (await verifier.verify(first)).service == "orders"
    await clock.advance(59.9)
    assert credentials() == first
    await clock.advance(0.1)
    second = credentials()
    assert second != first
    await clock.advance(60)
    assert (await verifier.verify(second)).service == "orders"


@pytest.fixture
def answering():
    tokens = []

    def answer(metadata):
        tokens.append(CURRENT.set(Call("op", Kind.SERVER, metadata=metadata)))

    yield answer
    for token in reversed(tokens):
        CURRENT.reset(token)


def test_the_callers_token_is_passed_on(answering):
    answering({"authorization": "Bearer abc"})
    assert forward_caller()() == "abc"


def test_where_nobody_calls_nothing_is_sent(answering):
    assert forward_caller()() == ""
    answering({})
    assert forward_caller()() == ""


def test_another_scheme_is_not_passed_on(answering):
    answering({"authorization": "Basic abc"})
    with pytest.raises(UnauthenticatedError):
        forward_caller()()
