"""The header fields in which a server tells what is left (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from prodkit.call import Call
from prodkit.errors import ConfigurationError
from prodkit.policies.rate_limiter.limit import SECOND
from prodkit.policies.rate_limiter.refusal import quota
from prodkit.policies.rate_limiter.store import Answer, Limit, Limits

_POLICY, _LIMIT = "ratelimit-policy", "ratelimit"


class Fields:
    """Writes `RateLimit-Policy` and `RateLimit` into the reply of a call, as of draft 10.

    A policy's `q` is what may come at once and `w` the seconds in which that comes back. `t` is the
    time until it is whole again or, once nothing remains, until the next call is admitted. Fields
    of several limiters are joined.
    """

    __slots__ = ("_first", "_more", "_policy")

    def __init__(self, name: str, limits: Limits) -> None:
        labels = [_label(name, limit, len(limits) == 1) for limit in limits]
        if len(set(labels)) < len(labels):
            raise ConfigurationError(f"rates need names of their own, name='hour' say: {labels}")
        self._policy = ", ".join(
            f'"{label}";q={quota(limit)};w={-(-limit.recovery // SECOND)}'
            for label, limit in zip(labels, limits, strict=True)
        )
        heads = [f'"{label}";r=' for label in labels]
        self._first, *self._more = zip(heads, limits, strict=True)

    def annotate(self, call: Call, answer: Answer) -> None:
        """Tell the caller what `answer` leaves."""
        said = _left(self._first, answer[2])
        if self._more:
            left = map(_left, self._more, answer[3:])
            said = ", ".join((said, *left))
        policy, reply = self._policy, call.reply
        if reply is None:
            call.reply = {_POLICY: policy, _LIMIT: said}
            return
        if _LIMIT in reply:  # one field lists all the limiters
            said = f"{reply[_LIMIT]}, {said}"
            policy = f"{reply[_POLICY]}, {policy}"
        reply[_POLICY] = policy
        reply[_LIMIT] = said


def _left(part: tuple[str, Limit], ahead: int) -> str:
    head, limit = part
    left = limit.tolerance - ahead
    calls = left // limit.interval
    if calls <= 0:
        calls = 0
        wait = -left if left < 0 else limit.interval - left
    elif ahead > limit.recovery:
        wait = limit.recovery
    else:
        wait = ahead
    return f"{head}{calls};t={-(-wait // SECOND)}"


def _label(name: str, limit: Limit, alone: bool) -> str:
    return limit.name or (name if alone else f"{name}-{limit.window / SECOND:g}s")
