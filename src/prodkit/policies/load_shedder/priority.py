"""Whom a shedder refuses first."""

from __future__ import annotations

from enum import IntEnum

from prodkit.call import Call


class Priority(IntEnum):
    """How much it matters that a call is answered now; the words are the field's (Google's SRE).

    What is EXEMPT is neither counted nor refused: it must be cheap. CRITICAL calls may use the
    whole limit, DEFAULT ones 90 % of it and SHEDDABLE ones half, and none of it while the event
    loop lags: batches, prefetching, crawlers.
    """

    SHEDDABLE = 0
    DEFAULT = 1
    CRITICAL = 2
    EXEMPT = 3


#: The share of the limit that each priority below EXEMPT may use, in their order.
SHARES = (0.5, 0.9, 1.0)

_DEFAULT, _EXEMPT = Priority.DEFAULT, Priority.EXEMPT
#: What asks whether the process works must not be told that it is busy: it would be restarted.
_PROBES = frozenset(
    {f"{method} /health{path}" for method in ("GET", "HEAD") for path in ("", "/live", "/ready")}
    | {f"/grpc.health.v1.Health/{method}" for method in ("Check", "Watch", "List")}
)


def default_priority(call: Call) -> Priority:
    """Return EXEMPT for the health probes that prodkit serves, DEFAULT for all else.

    A function of your own may look at `call.operation` and `call.principal`, or at metadata where
    `call.edge` is False: what a stranger says of the weight of a request is not to be believed.
    """
    return _EXEMPT if call.operation in _PROBES else _DEFAULT
