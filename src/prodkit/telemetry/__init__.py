"""Traces, metrics, logs and availability: one look at each call, at every door."""

from prodkit.telemetry.logs import configure_logging, get_logger
from prodkit.telemetry.observe import Observe
from prodkit.telemetry.propagation import current_traceparent, inject
from prodkit.telemetry.sink import LineSink
from prodkit.telemetry.telemetry import Telemetry

__all__ = [
    "LineSink",
    "Observe",
    "Telemetry",
    "configure_logging",
    "current_traceparent",
    "get_logger",
    "inject",
]
