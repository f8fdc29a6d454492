"""What one service's telemetry is made of; the composition root builds it and closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor
from prometheus_client import CollectorRegistry

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.events import Event
from prodkit.pipeline import Pipeline
from prodkit.security.redaction import Redactor
from prodkit.telemetry.logs import SERVICE, encode_line
from prodkit.telemetry.metrics import Metrics
from prodkit.telemetry.sink import LineSink
from prodkit.telemetry.slo import Availability
from prodkit.telemetry.spans import event_fields
from prodkit.telemetry.traces import SpanStarter, tracer_provider

#: Characters of an operation in the line of an event: before routing it is a stranger's path.
_LONGEST = 256
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Telemetry:
    """Traces, metrics, access lines and availability of one service; shared by its doors.

    The services of one process share `registry`, `span_processors` and `log`. `sample_ratio` is
    the share of new traces to keep; without processors spans go nowhere. `availability` is the
    label of `service_availability`, by default `<service>-service`. `secret` declares field names
    to redact. Lines under `log_level` are not written: calls that went well are `info` inbound and
    `debug` outbound.
    """

    def __init__(
        self,
        service: str,
        *,
        registry: CollectorRegistry | None = None,
        span_processors: Sequence[SpanProcessor] = (),
        sample_ratio: float = 0.01,
        log: LineSink | None = None,
        log_level: str = "info",
        availability: str | None = None,
        secret: Iterable[str] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if log_level not in LEVELS:
            raise ValueError(f"log_level must be one of {', '.join(LEVELS)}, not {log_level!r}")
        self.service = service
        self.name = f"telemetry of {service}"
        self.clock = clock
        self.registry = CollectorRegistry() if registry is None else registry
        self.metrics = Metrics.of(self.registry)
        self.provider = tracer_provider(
            service, sample_ratio=sample_ratio, processors=span_processors
        )
        self.spans = SpanStarter(self.provider, sample_ratio)
        self.log = LineSink() if log is None else log
        self.threshold = LEVELS[log_level]
        self.redactor = Redactor(secret)
        self.availability = Availability(clock=clock)
        #: The OpenTelemetry context that inbound calls start from: it names the service, no more.
        self.context = Context({SERVICE: service})
        label = availability or f"{service.removesuffix('-service')}-service"
        self.metrics.availability.labels(label).set_function(self.availability.percent)
        self.metrics.lines_dropped.labels(service).set_function(lambda: self.log.dropped)

    def watch(self, *pipelines: Pipeline) -> None:
        """Show what bulkheads and load shedders in `pipelines` hold, and the states of breakers.

        Pipelines with an Observe are watched from their start; this is for others, of routes say.
        """
        for pipeline in pipelines:
            for member in pipeline.members:
                self.metrics.watch(member)

    def line(self, told: Event, call: Call) -> None:
        """Write one line about what a policy told of `call`, if the event asks for one.

        A field named like one that every line has is written as `event_<name>`.
        """
        if LEVELS.get(told.level, 0) < self.threshold:
            return
        span = trace.get_current_span().get_span_context()
        head: dict[str, object] = {
            "timestamp": datetime.now(UTC),
            "level": told.level,
            "event": type(told).__name__,
            "service": self.service,
            "trace_id": f"{span.trace_id:032x}",
            "span_id": f"{span.span_id:016x}",
            "request_id": call.request_id,
            "policy": told.policy,
            "operation": self.redactor.path(call.operation[:_LONGEST]),
        }
        for name, value in event_fields(told, self.redactor):
            head[f"event_{name}" if name in head else name] = value
        self.log.write(encode_line(head))

    async def start(self) -> None:
        """Do nothing: telemetry works as soon as it is built."""

    async def stop(self, grace: float) -> None:
        """Hand over what has been gathered: spans to their exporter, lines to their reader.

        Takes `grace` seconds at most. Span processors are shut down; the process is at its end.
        """
        await asyncio.to_thread(self._flush, grace)

    def _flush(self, grace: float) -> None:
        started = self.clock.monotonic()
        self.provider.force_flush(max(1, round(1000 * grace)))
        self.log.flush(max(0.0, grace - (self.clock.monotonic() - started)))
        self.provider.shutdown()
