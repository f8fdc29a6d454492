"""Hedge: a second attempt where the first is slower than most, and the first good answer wins."""

from prodkit.policies._budget import KeyedRetryBudget, RetryBudget
from prodkit.policies.hedge.events import HedgeSent, HedgeWithheld, HedgeWon
from prodkit.policies.hedge.latency import LatencyPercentile
from prodkit.policies.hedge.policy import Hedge, default_is_failure

__all__ = [
    "Hedge",
    "HedgeSent",
    "HedgeWithheld",
    "HedgeWon",
    "KeyedRetryBudget",
    "LatencyPercentile",
    "RetryBudget",
    "default_is_failure",
]
