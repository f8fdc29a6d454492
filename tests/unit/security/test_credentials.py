import pytest

from prodkit.security.credentials import ServiceCredentials
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
