"""What goes wrong with RabbitMQ, as errors of the service."""

from __future__ import annotations

from collections.abc import Awaitable

import aiormq
from aiormq import Channel

from prodkit.errors import FailedPreconditionError, ServiceError, UnavailableError
from prodkit.transports.broker import UnroutableError

_RETRY_AFTER = 1.0
#: What the driver raises for a broker that is away; RuntimeError for a channel that was closed.
AWAY = (aiormq.AMQPError, OSError, RuntimeError)

_REFUSALS: dict[type[aiormq.AMQPError], str] = {
    aiormq.ChannelNotFoundEntity: "QUEUE_MISSING",
    aiormq.ChannelPreconditionFailed: "QUEUE_DIFFERS",
    aiormq.ChannelAccessRefused: "ACCESS_REFUSED",
    aiormq.ChannelLockedResource: "QUEUE_LOCKED",
}


def away(why: str) -> UnavailableError:
    """Return the error for a broker that cannot be had now; a note alone says why."""
    error = UnavailableError(
        "the broker is not available", reason="BROKER_UNAVAILABLE", retry_after=_RETRY_AFTER
    )
    error.add_note(f"RabbitMQ {why}")
    return error


def failure(error: BaseException, doing: str) -> ServiceError:
    """Return what `error` means to somebody who was `doing` this."""
    reason = _REFUSALS.get(type(error)) if isinstance(error, aiormq.AMQPError) else None
    if isinstance(error, aiormq.PublishError):
        meant: ServiceError = UnroutableError("no queue takes the message")
        meant.add_note(f"RabbitMQ has no queue for it: {doing}")
    elif reason is not None:
        meant = FailedPreconditionError("the broker refuses to do this", reason=reason)
        meant.add_note(f"RabbitMQ refuses to do this: {doing}: {error}")
    elif isinstance(error, TimeoutError):
        meant = away(f"did not answer in time: {doing}")
    else:
        meant = away(f"was lost: {doing}: {type(error).__name__}")
    meant.__cause__ = error
    return meant


async def close(channel: Channel, within: float) -> None:
    """Close a channel, and so give back what was not settled there; one that is gone is fine."""
    await quietly(channel.close(timeout=within))


async def quietly(work: Awaitable[object]) -> None:
    """Await what nobody needs to succeed."""
    try:
        await work
    except (*AWAY, ServiceError, TimeoutError):
        return
