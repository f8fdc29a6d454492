"""Load shedding: a process that is offered more than it can do refuses some of it at once.

What it can do is not configured but learned, from how long calls take and how late the event loop
is. `LoadShedder` is the policy, `Priority` and `default_priority` say whom it refuses first.
"""

from prodkit.policies.load_shedder.limit import ConcurrencyLimit
from prodkit.policies.load_shedder.policy import CallShed, LimitChanged, LoadShedder
from prodkit.policies.load_shedder.priority import Priority, default_priority

__all__ = [
    "CallShed",
    "ConcurrencyLimit",
    "LimitChanged",
    "LoadShedder",
    "Priority",
    "default_priority",
]
