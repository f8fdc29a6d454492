"""Spans in a file, a line of JSON each: enough to follow a call without a tracing backend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prodkit.errors import ConfigurationError


class FileSpanExporter(SpanExporter):
    """Appends what a batch processor hands over."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"spans_file: {error}") from error

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line a span."""
        self._file.writelines(json.dumps(json.loads(s.to_json(indent=None))) + "\n" for s in spans)
        self._file.flush()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()
