"""Stores that live and die with one process."""

from prodkit.policies.gcra import MemoryRateLimitStore

__all__ = ["MemoryRateLimitStore"]
