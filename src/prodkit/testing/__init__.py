"""What users and prodkit itself test with: a clock under the test's hand, a recorder of events."""

from prodkit.testing.clock import ManualClock

__all__ = ["ManualClock"]
