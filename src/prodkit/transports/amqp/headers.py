"""Messages as AMQP carries them: properties, headers of the message's own, and headers of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from prodkit.errors import InvalidArgumentError
from prodkit.transports.amqp.topology import HASH_HEADER
from prodkit.transports.broker import DeadLetter, Message

_OURS = "x-prodkit-"
_KEY, _ID = "x-prodkit-key", "x-prodkit-id"
_ATTEMPTS, _DELIVERIES = "x-prodkit-attempts", "x-prodkit-deliveries"
_TAG, _REASON, _AT = "x-prodkit-tag", "x-prodkit-reason", "x-prodkit-at"
#: What RabbitMQ adds; the rest of its own is no text, or under this prefix.
_THEIRS = "x-first-death-"
_PERSISTENT = 2
_LONGEST = 240  # bytes; an AMQP short string has 255, and ids may get a number before them
_REASON_LENGTH = 4000


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way into an exchange, with what we say about it."""

    message: Message
    exchange: str
    routing_key: str
    attempts: int = 0
    deliveries: int = 0
    dead: DeadLetter | None = None

    def to(self, exchange: str, routing_key: str) -> Letter:
        """Return it with another target."""
        return replace(self, exchange=exchange, routing_key=routing_key)

    def properties(self, message_id: str) -> Basic.Properties:
        """Return its properties; `message_id` differs from the id if that is under way already."""
        message = self.message
        headers: dict[str, Any] = dict(message.headers)
        headers[HASH_HEADER] = message.key or message.id
        if message.key:
            headers[_KEY] = message.key
        if message_id != message.id:
            headers[_ID] = message.id
        if self.attempts:
            headers[_ATTEMPTS] = self.attempts
        if self.deliveries:
            headers[_DELIVERIES] = self.deliveries
        if self.dead is not None:
            headers[_TAG] = self.dead.tag
            headers[_REASON] = self.dead.reason[:_REASON_LENGTH]
            headers[_AT] = repr(self.dead.at)
        return Basic.Properties(
            delivery_mode=_PERSISTENT,
            message_id=message_id,
            message_type=message.type,
            headers=headers,
        )


def check(message: Message) -> None:
    """Raise InvalidArgumentError for what AMQP cannot carry."""
    for what, text in (("id", message.id), ("type", message.type)):
        if not text or len(text.encode(errors="replace")) > _LONGEST:
            raise InvalidArgumentError(
                f"the {what} of a message must have 1 to {_LONGEST} bytes, not {text[:300]!r}"
            )


def message_of(delivered: DeliveredMessage) -> Message:
    """Read a message, whoever published it."""
    properties = delivered.header.properties
    headers = _headers(delivered)
    own = {
        name: value
        for name, value in headers.items()
        if isinstance(value, str) and not name.startswith((_OURS, _THEIRS))
    }
    return Message(
        id=_text(headers, _ID) or properties.message_id or "",
        type=properties.message_type or delivered.routing_key or "",
        body=delivered.body,
        key=_text(headers, _KEY),
        headers=own,
    )


def attempts_of(delivered: DeliveredMessage) -> int:
    """Return how many attempts to handle it were counted."""
    return _number(_headers(delivered), _ATTEMPTS)


def deliveries_of(delivered: DeliveredMessage) -> int:
    """Return how often it was delivered before: under its earlier copies, and in this queue."""
    headers = _headers(delivered)
    return _number(headers, _DELIVERIES) + _number(headers, "x-delivery-count")


def dead_letter_of(delivered: DeliveredMessage, queue: str) -> DeadLetter:
    """Read a dead letter, also one that RabbitMQ itself has given up."""
    headers, message = _headers(delivered), message_of(delivered)
    return DeadLetter(
        tag=_number(headers, _TAG) or _foreign_tag(message.id),
        queue=queue,
        message=message,
        attempts=attempts_of(delivered),
        reason=_text(headers, _REASON) or _text(headers, "x-first-death-reason"),
        at=float(_text(headers, _AT) or 0),
    )


def _foreign_tag(id_: str) -> int:
    """Return a tag for a letter without one: always the same, and below those of ours."""
    return int.from_bytes(id_.encode(errors="replace")[-6:], "big") + 1


def _headers(delivered: DeliveredMessage) -> dict[str, Any]:
    return delivered.header.properties.headers or {}


def _text(headers: dict[str, Any], name: str) -> str:
    value = headers.get(name)
    return value if isinstance(value, str) else ""


def _number(headers: dict[str, Any], name: str) -> int:
    value = headers.get(name)
    return value if type(value) is int else 0
