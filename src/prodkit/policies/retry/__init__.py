"""Retry: repeat what may be repeated, where it helps, and never into a storm."""

from prodkit.policies._budget import KeyedRetryBudget, RetryBudget
from prodkit.policies.retry.backoff import Backoff, Strategy
from prodkit.policies.retry.events import RetriesExhausted, RetryScheduled
from prodkit.policies.retry.outcome import RETRY_MARK
from prodkit.policies.retry.policy import Retry

__all__ = [
    "RETRY_MARK",
    "Backoff",
    "KeyedRetryBudget",
    "RetriesExhausted",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "Strategy",
]
