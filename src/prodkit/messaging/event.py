"""Events as CloudEvents 1.0, in the JSON format's structured mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import urandom
from typing import Any

import msgspec

from prodkit.errors import InvalidArgumentError


def new_id() -> str:
    """Return 128 random bits in hex; nobody can guess it."""
    return urandom(16).hex()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to `subject`; `source` and `id` together are its identity.

    `type` is past tense under its service's name (`order.created`). `subject` is the id of the
    aggregate: events of one subject keep their order. `data` holds what JSON can say, Decimal,
    datetime and UUID included (as strings). `time` is Unix time. An outbox fills in whatever of
    source, time, trace and request id is empty.
    """

    type: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    source: str = ""
    time: float = 0.0
    traceparent: str = ""
    request_id: str = ""

    def to_json(self) -> bytes:
        """Return the event as a JSON document."""
        return self.document(self.source, self.time, self.traceparent, self.request_id)

    def document(self, source: str, time: float, traceparent: str, request_id: str) -> bytes:
        """Return it as if these were its own; no second event is made for that."""
        return _ENCODER.encode(
            _CloudEvent(
                id=self.id,
                source=source,
                type=self.type,
                subject=self.subject,
                time=datetime.fromtimestamp(time, UTC),
                data=dict(self.data),
                traceparent=traceparent,
                requestid=request_id,
            )
        )

    @classmethod
    def from_json(cls, document: bytes) -> Event:
        """Read an event. Raises InvalidArgumentError."""
        try:
            read = _DECODER.decode(document)
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidArgumentError(f"not a CloudEvent: {error}") from error
        if read.specversion != "1.0":
            raise InvalidArgumentError(f"CloudEvents {read.specversion} instead of 1.0")
        return cls(
            type=read.type,
            subject=read.subject,
            data=read.data,
            id=read.id,
            source=read.source,
            time=read.time.timestamp() if read.time else 0.0,
            traceparent=read.traceparent,
            request_id=read.requestid,
        )


class _CloudEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The names on the wire; extension attributes have no underscores there."""

    # Not defaulted to "1.0": what everybody must send must not be omitted.
    specversion: str = msgspec.field(default_factory=lambda: "1.0")
    id: str
    source: str
    type: str
    subject: str = ""
    time: datetime | None = None
    datacontenttype: str = msgspec.field(default_factory=lambda: "application/json")
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    traceparent: str = ""
    requestid: str = ""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_CloudEvent)
