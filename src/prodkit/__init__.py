"""prodkit: one policy, four doors. Importing it loads the standard library alone."""

from prodkit.call import Call, Kind, Principal, current_call
from prodkit.checks import Doorway, Finding, Severity
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import Code, FieldViolation, RejectedError, ServiceError, code_of
from prodkit.events import Event
from prodkit.pipeline import Middleware, Next, Pipeline
from prodkit.traits import Trait

__version__ = "0.1.0"

__all__ = [
    "SYSTEM_CLOCK",
    "Call",
    "Clock",
    "Code",
    "Doorway",
    "Event",
    "FieldViolation",
    "Finding",
    "Kind",
    "Middleware",
    "Next",
    "Pipeline",
    "Principal",
    "RejectedError",
    "ServiceError",
    "Severity",
    "Trait",
    "__version__",
    "code_of",
    "current_call",
]
