"""The key of an idempotent call: what it may look like, and whose it is."""

from __future__ import annotations

import hashlib

from prodkit.call import Call
from prodkit.errors import ConfigurationError, InvalidArgumentError

_LONGEST_KEY = 255


def principal_and_operation(call: Call) -> str:
    """Scope a key to who sends it and what for, so that nobody reads another's answer.

    Raises ConfigurationError where nobody is known: a public operation must name its own scope.
    """
    if call.principal is None:
        raise ConfigurationError(
            f"{call.operation}: nobody is known here, so a public operation that takes an "
            "idempotency key must name its own scope function"
        )
    subject = call.principal.subject
    return f"{len(subject)}:{subject}:{call.operation}"


def valid_key(key: str | None) -> str:
    """Return `key` if it is one; raises InvalidArgumentError that says what is wrong with it."""
    if key is None:
        raise InvalidArgumentError(
            "this operation needs an idempotency key", reason="IDEMPOTENCY_KEY_MISSING"
        )
    if not 0 < len(key) <= _LONGEST_KEY:
        raise InvalidArgumentError(
            f"an idempotency key has 1 to {_LONGEST_KEY} characters, not {len(key)}",
            reason="IDEMPOTENCY_KEY_INVALID",
        )
    return key


def claim_id(scope: str, key: str) -> str:
    """Return the word under which a store keeps `key` of `scope`; no two pairs share one."""
    if not isinstance(scope, str):
        raise ConfigurationError(f"idempotency: scope must return a str, not {scope!r}")
    named = f"{len(scope)}:{scope}:{key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(named).hexdigest()[:32]
