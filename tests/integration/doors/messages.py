"""The consumer in the matrix, and the broker that it tells how each message ended."""

from __future__ import annotations

import asyncio
from typing import Any

from doors.base import OK, Answer, Door, failed
from prodkit import Code, Pipeline, ServiceError
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.event import Event
from prodkit.transports.broker import Delivery, Message


class Broker:
    """Hands out what it was given, and keeps how each message was settled."""

    lease = 10.0

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Delivery] = asyncio.Queue()
        self.settled: dict[str, asyncio.Future[tuple[str, float]]] = {}

    async def declare(self, queue: str, types: list[str], *, ordered: bool) -> None:
        """There is but one queue."""

    async def receive(self, queue: str, limit: int, *, wait: float) -> list[Delivery]:
        return [await self.waiting.get()]

    async def extend(self, deliveries: list[Delivery]) -> None:
        """Leases do not end here."""

    async def ack(self, delivery: Delivery) -> None:
        self._settle(delivery, "ack", 0.0)

    async def retry(self, delivery: Delivery, *, delay: float) -> None:
        self._settle(delivery, "retry", delay)

    async def release(self, delivery: Delivery, *, delay: float = 0.0) -> None:
        self._settle(delivery, "release", delay)

    async def dead(self, delivery: Delivery, *, reason: str) -> None:
        self._settle(delivery, f"dead: {reason}", 0.0)

    def _settle(self, delivery: Delivery, how: str, delay: float) -> None:
        self.settled[delivery.message.id].set_result((how, delay))


class Messages(Door):
    """A consumer: it tells the broker, and nobody else."""

    async def open(self, pipeline: Pipeline) -> None:
        self.errors: dict[str, ServiceError] = {}

        async def handle(event: Event) -> None:
            await self.work()

        async def watch(call: Any, proceed: Any) -> Any:
            try:
                return await proceed(call)
            except ServiceError as error:
                self.errors[call.payload.id] = error
                raise

        self.broker: Any = Broker()
        members = Pipeline(watch, *pipeline.members)
        self.consumer = Consumer(self.broker, "work", {"asked": handle}, pipeline=members)
        await self.consumer.start()

    async def ask(self, key: str | None = None) -> Answer:
        event = Event("asked", "it", source="/test")
        settled = asyncio.get_running_loop().create_future()
        self.broker.settled[event.id] = settled
        message = Message(event.id, event.type, event.to_json())
        self.broker.waiting.put_nowait(Delivery(message, "work", 1, 1, 1, 1))
        how, delay = await settled
        if how == "ack":
            return Answer(OK)
        return failed(self.errors[event.id], settled=how, delay=delay)

    def check(self, answer: Answer, code: Code, *, refused: bool) -> None:
        """A refusal is put back, uncounted, for as long as it asks; a failure is an attempt."""
        super().check(answer, code, refused=refused)
        assert answer.told["settled"] == ("release" if refused else "retry")
        assert answer.told["delay"] == (answer.retry_after or 1.0)

    async def close(self) -> None:
        if hasattr(self, "consumer"):
            await self.consumer.stop(0)
