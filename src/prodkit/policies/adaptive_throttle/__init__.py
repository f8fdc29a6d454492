"""Adaptive throttle: send no more to an overloaded backend than a little above what it takes."""

from prodkit.policies.adaptive_throttle.throttle import (
    AdaptiveThrottle,
    CallThrottled,
    default_is_accepted,
)

__all__ = ["AdaptiveThrottle", "CallThrottled", "default_is_accepted"]
