"""A request body on its way to the guest: bounded in size and in the time it may take to arrive."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from prodkit.clock import Alarm, Clock
from prodkit.errors import Code, InvalidArgumentError, ServiceError

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


def body_too_large(limit: int) -> ServiceError:
    """Return what answers 413."""
    return InvalidArgumentError(f"the body is larger than {limit} bytes", reason="BODY_TOO_LARGE")


def client_gone() -> ServiceError:
    """Return what a request without a client ends with: neither success nor failure."""
    return ServiceError("the client went away", code=Code.CANCELLED, reason="CLIENT_DISCONNECTED")


class RequestBody:
    """What is left of a request body, and the patience to wait for it.

    Nothing is buffered unless `whole` is asked for. The time that counts is the time spent waiting
    for the client, over the whole body; what the guest does between two chunks is its own affair.
    `refusal` is set, and raised into the guest, when the client used up either.
    """

    __slots__ = (
        "_buffered",
        "_clock",
        "_left",
        "_limit",
        "_patience",
        "_receive",
        "arrived",
        "disconnected",
        "refusal",
    )

    def __init__(self, receive: Receive, limit: int, timeout: float, clock: Clock) -> None:
        self._receive = receive
        self._limit = self._left = limit
        self._patience = timeout
        self._clock = clock
        self._buffered: Message | None = None
        self.arrived = False
        self.disconnected = False
        self.refusal: ServiceError | None = None

    async def receive(self) -> Message:
        """Be the `receive` of the guest app; raises the refusal, again and again."""
        if self._buffered is not None:
            message, self._buffered = self._buffered, None
            return message
        if self.refusal is not None:
            raise self.refusal
        if self.arrived or self.disconnected:
            return await self._receive()
        message = await self._wait()
        if message["type"] != "http.request":
            self.disconnected = True
            return message
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.refusal = body_too_large(self._limit)
            raise self.refusal
        self.arrived = not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        """Return the whole body, and keep it for the guest to receive."""
        chunks = []
        while not self.arrived:
            message = await self.receive()
            if self.disconnected:
                raise client_gone()
            chunks.append(message.get("body", b""))
        body = b"".join(chunks)
        self._buffered = {"type": "http.request", "body": body, "more_body": False}
        return body

    async def _wait(self) -> Message:
        began = self._clock.monotonic()
        alarm = Alarm(self._clock, self._patience)
        try:
            return await self._receive()
        except CancelledError:
            if not alarm.rang():
                raise
            self.refusal = ServiceError(
                "the body took too long to arrive", code=Code.CANCELLED, reason="BODY_TIMEOUT"
            )
            raise self.refusal from None
        finally:
            alarm.stop()
            self._patience -= self._clock.monotonic() - began
