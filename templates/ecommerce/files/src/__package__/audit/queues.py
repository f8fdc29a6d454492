"""What waits in the broker, and what it has given up."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from prodkit.data.database import Database
from prodkit.transports.amqp import AmqpBroker
from sqlalchemy import text

from ..settings import Settings

Rows: TypeAlias = list[dict[str, Any]]

#: The services that listen; the queue of each has its name.
QUEUES: Final = ("catalog", "orders", "payments", "notifications")
#: Dead letters that are named, of each queue.
MOST_DEAD: Final = 100


async def queued(settings: Settings, now: float) -> tuple[Rows, Rows]:
    """Return what waits and what is dead, a row each; what waits in RabbitMQ, a row a queue.

    RabbitMQ does not tell since when: that counts as just now.
    """
    if settings.broker_url is None:
        return await _embedded(settings)
    broker = AmqpBroker(settings.broker_url.get_secret_value(), name="audit")
    await broker.start()
    try:
        waiting, dead = [], []
        for queue in QUEUES:
            messages, letters = await broker.depth(queue, ordered=True)
            if messages:
                waiting.append(_row(queue, f"{messages} messages", due=now))
            if letters:
                dead += [
                    _row(queue, letter.message.type, letter.message.key, reason=letter.reason)
                    for letter in await broker.dead_letters(queue, limit=MOST_DEAD)
                ]
    finally:
        await broker.stop()
    return waiting, dead


def _row(queue: str, type_: str, key: str = "any key", **more: object) -> dict[str, Any]:
    return {"queue": queue, "type": type_, "key": key, **more}


async def _embedded(settings: Settings) -> tuple[Rows, Rows]:
    books = Database(settings.data_dir / "broker.db", name="broker")
    try:
        async with books.read() as tx:
            waiting = await tx.execute(text("SELECT queue, type, key, due FROM message"))
            dead = await tx.execute(text("SELECT queue, type, key, reason FROM dead_letter"))
            return [dict(row) for row in waiting.mappings()], [dict(r) for r in dead.mappings()]
    finally:
        await books.stop()
