"""What counts as a failure of the callee, unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Callable

from prodkit.call import Call
from prodkit.errors import FAILURE_CODES, Code, RejectedError, code_of
from prodkit.policies.circuit_breaker.store import Outcome

_PASSED, _FAILED, _WITHDRAWN = Outcome  # reading a member off its class is slow
_CANCELLED = Code.CANCELLED


def default_is_failure(call: Call, error: Exception | None) -> bool:
    """Say whether this outcome speaks against the callee's health.

    With an exception its code decides, without one `call.code`. What the caller did wrong does
    not count; that a policy further down refused *another* call, one made on our behalf, does.
    """
    if error is None:
        return call.code in FAILURE_CODES
    return isinstance(error, RejectedError) or code_of(error) in FAILURE_CODES


def verdict(
    call: Call, error: Exception | None, is_failure: Callable[[Call, Exception | None], bool]
) -> Outcome:
    """Say how `call` ended: WITHDRAWN if it was cancelled, or did not run."""
    code = call.code if error is None else code_of(error)
    if code is _CANCELLED or (isinstance(error, RejectedError) and error.refuses(call)):
        return _WITHDRAWN
    return _FAILED if is_failure(call, error) else _PASSED
