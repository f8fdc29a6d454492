"""What the provider reports: believed if it is signed and fresh, taken as often as it comes."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable

from prodkit.errors import InvalidArgumentError, UnauthenticatedError

from .states import States

#: Seconds; an older report is somebody repeating what he overheard.
MAX_AGE = 300.0

#: What a report means for a payment. Others (a void) tell us nothing that we did not do.
MOVES = {
    "payment.authorized": "authorized",
    "payment.captured": "captured",
    "payment.refunded": "refunded",
}


class Webhooks:
    """Verifies and applies reports."""

    def __init__(self, states: States, secret: bytes, *, now: Callable[[], float]) -> None:
        self._states = states
        self._secret = secret
        self._now = now

    async def receive(self, body: bytes, signature: str) -> None:
        """Apply one report. UnauthenticatedError for what is forged or stale.

        A report only moves a payment forward, so duplicates and latecomers change nothing.
        """
        self._verify(body, signature)
        try:
            report = json.loads(body)
            kind, reference = str(report["type"]), str(report["reference"])
        except (ValueError, KeyError, TypeError):
            raise InvalidArgumentError("the report is not one of the provider's") from None
        to = MOVES.get(kind)
        if to is not None:
            await self._states.report(reference, to)

    def _verify(self, body: bytes, signature: str) -> None:
        fields = dict(part.partition("=")[::2] for part in signature.split(","))
        stamp, mac = fields.get("t", ""), fields.get("v1", "")
        signed = stamp.encode("utf-8", "replace") + b"." + body
        right = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), mac.encode("utf-8", "replace")):
            raise UnauthenticatedError("the signature does not hold", reason="SIGNATURE_INVALID")
        if not stamp.isdecimal() or abs(self._now() - int(stamp)) > MAX_AGE:
            raise UnauthenticatedError("the report is too old", reason="SIGNATURE_STALE")
