"""What users and prodkit itself test with: a clock under the test's hand, a recorder of events."""

from prodkit.testing.clock import ManualClock
from prodkit.testing.recorder import EventRecorder

__all__ = ["EventRecorder", "ManualClock"]
