"""Who calls, and what new things are called."""

from __future__ import annotations

from random import SystemRandom

from prodkit.call import Principal, current_call
from prodkit.errors import UnauthenticatedError

_random = SystemRandom()


def caller() -> Principal:
    """Return who calls; the contract admits nobody unknown where this is asked."""
    call = current_call()
    if call is None or call.principal is None:
        raise UnauthenticatedError("sign in first", reason="AUTHENTICATION_REQUIRED")
    return call.principal


def new_id(kind: str) -> str:
    """Return `<kind>-` and 80 random bits in hex."""
    return f"{kind}-{_random.getrandbits(80):020x}"
