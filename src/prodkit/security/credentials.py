"""What outbound doors present when a service calls in its own name."""

from __future__ import annotations

from prodkit.clock import SYSTEM_CLOCK, Clock
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
