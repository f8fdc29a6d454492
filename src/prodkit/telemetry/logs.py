"""Logs: one line of JSON each, with who, where and which trace on it, whatever was logged."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import structlog
from opentelemetry import context as otel
from opentelemetry import trace
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from prodkit.call import CURRENT
from prodkit.security.redaction import Redactor
from prodkit.telemetry.sink import LineSink

#: Under this key the OpenTelemetry context says which service of the process is at work.
SERVICE = otel.create_key("prodkit-service")

# Valid in JSON, but to a terminal or a line splitter more than text: C1 controls, NEL, the Unicode
# line ends, and what reverses the reading order.
_TREACHEROUS = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")

_encoder = msgspec.json.Encoder(enc_hook=repr)

#: What every LogRecord has; the rest came by `extra`.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def encode_line(line: object) -> bytes:
    """Return `line`, which holds plain values, as one line of JSON, whatever its strings hold."""
    try:
        data = _encoder.encode(line)
    except (ValueError, TypeError, OverflowError, RecursionError):
        # lone surrogates; integers beyond 64 bits
        data = json.dumps(msgspec.to_builtins(line), default=repr).encode()
    if not data.isascii() or 0x7F in data:  # a byte is found faster than bytes
        data = _TREACHEROUS.sub(_escape, data)
    return data + b"\n"


def _escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


class LogPipe:
    """Turns log events of structlog and of the standard library into lines on one sink.

    `service` stands on lines that belong to no call; `secret` declares field names to redact.
    """

    def __init__(self, service: str, sink: LineSink, *, secret: Iterable[str] = ()) -> None:
        self._service = service
        self._redactor = Redactor(secret)
        self.sink = sink

    @property
    def processors(self) -> Sequence[Processor]:
        """The processors for `structlog.configure`, last one encoding to bytes."""
        return (
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            self.redact,
            self.identify,
            _render,
        )

    def identify(self, logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Say on the line which logger, service, request and trace it belongs to."""
        if name := getattr(logger, "name", None):
            event["logger"] = name
        call = CURRENT.get()
        span = trace.get_current_span().get_span_context()
        event["service"] = otel.get_value(SERVICE) or self._service
        event["request_id"] = call.request_id if call is not None else ""
        event["trace_id"] = f"{span.trace_id:032x}" if span.is_valid else ""
        event["span_id"] = f"{span.span_id:016x}" if span.is_valid else ""
        return event

    def redact(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Take secrets out, before our own fields are added: ids are not looked at."""
        return self._redactor.fields(event)


def _render(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    return encode_line(event)[:-1]  # BytesLogger ends the line


class _StandardHandler(logging.Handler):
    """Brings the records of the standard library into the same lines."""

    def __init__(self, pipe: LogPipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: Any = {
                **{k: v for k, v in vars(record).items() if k not in _RECORD_FIELDS},
                "event": record.getMessage(),
                "exc_info": record.exc_info,
            }
            for process in self._pipe.processors:
                event = process(record, record.levelname.lower(), event)
            self._pipe.sink.write(event + b"\n")
        except Exception:  # noqa: BLE001 - as every logging.Handler does
            self.handleError(record)


def configure_logging(
    service: str,
    sink: LineSink | None = None,
    *,
    level: str = "info",
    secret: Iterable[str] = (),
) -> LineSink:
    """Send the process's logs, structlog's and the standard library's, to `sink` (stdout) as JSON.

    For the composition root alone: it replaces the configuration of the whole process. `debug` is
    for structlog's loggers; the standard library's stay at `info`, unless they have a level of
    their own: at `debug` drivers write the values of SQL statements, and clients write headers.
    Returns the sink, to be shared with `Telemetry`.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"level must be a level of the logging module, not {level!r}")
    pipe = LogPipe(service, sink or LineSink(), secret=secret)
    structlog.configure(
        processors=pipe.processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.BytesLoggerFactory(cast("Any", pipe.sink)),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_StandardHandler(pipe)]
    root.setLevel(max(number, logging.INFO))
    return pipe.sink


def get_logger(name: str = "") -> FilteringBoundLogger:
    """Return a logger; fields are keyword arguments: `log.info("order placed", order_id=...)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(*([name] if name else [])))
