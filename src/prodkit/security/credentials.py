"""What outbound doors present: the service's own token, or the caller's."""

from __future__ import annotations

from collections.abc import Callable

from prodkit.call import current_call
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.security.authorization import bearer
from prodkit.security.keys import KeySet
from prodkit.security.tokens import TokenSigner


class ServiceCredentials:
    """The token that `service:<name>` signs for itself; renewed when half of its life is over.

    Give it to an outbound door as `credentials`. Half a lifetime (seconds) must be longer than any
    call's deadline, so that a token never expires on its way.
    """

    def __init__(
        self,
        name: str,
        keys: KeySet,
        *,
        audience: str,
        lifetime: float = 120.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.subject = f"service:{name}"
        self._signer = TokenSigner(keys, issuer=self.subject, audience=audience, clock=clock)
        self._lifetime = lifetime
        self._clock = clock
        self._token = ""
        self._renewed = float("-inf")

    def __call__(self) -> str:
        """Return a token with at least half of its life before it."""
        now = self._clock.monotonic()
        if now - self._renewed >= self._lifetime / 2:
            self._token = self._signer.sign(self.subject, lifetime=self._lifetime)
            self._renewed = now
        return self._token


def forward_caller() -> Callable[[], str]:
    """Return credentials that pass on the token of the inbound call being answered.

    They return the empty string, which doors take for "send none", where the caller showed none.
    """

    def credentials() -> str:
        call = current_call()
        header = call.metadata.get("authorization") if call is not None else None
        return bearer(header) if header is not None else ""

    return credentials
