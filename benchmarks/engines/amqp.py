"""RabbitMQ: messages published and confirmed, and consumed and acknowledged, over bare aio-pika."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from benchmarks.engines.measure import Contestant, Drain, Once, Row, Tick

from prodkit import Call, Pipeline
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.event import Event
from prodkit.policies.deadline import Deadline
from prodkit.telemetry import LineSink, Observe, Telemetry
from prodkit.telemetry.propagation import current_traceparent
from prodkit.testing.servers import PrivateRabbitMQ
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.broker import Message

CALLERS = 50
PREFETCH = 100
MESSAGES = 2000
PUBLISH_BUDGET, CONSUME_BUDGET = 0.9, 0.85
TYPE, SUBJECT = "order.created", "o-1"
DATA = {"user_id": "u-1", "total": "129.80", "items": [{"product_id": "p-1", "quantity": 2}]}
BODY = Event(TYPE, SUBJECT, DATA, source="/orders", time=1.0).to_json()
QUORUM = {"x-queue-type": "quorum"}

PUBLISHED = """\
{callers} callers, each with one message at a time, persistent, into a quorum queue. The floor:
aio-pika with publisher confirms and `mandatory`, of bytes that are there. *prodkit* makes the
event, passes through a pipeline with `Observe` (1 % of traces kept) and `Deadline`, and publishes
it with trace and request id, confirmed and mandatory; *the broker alone* is `AmqpBroker.publish` of
a message that is there."""
CONSUMED = """\
{messages:,} messages from a quorum queue, {prefetch} fetched ahead, each acknowledged when its
handler has returned. The floor: aio-pika's `queue.consume`, whose callback acknowledges. *prodkit*
is a `Consumer` with a pipeline of `Observe` (1 % of traces kept) and `Deadline`, which reads the
event and is ready to retry and to bury it. FastStream's handler takes a dict; *observed* has its
Prometheus middleware."""


@asynccontextmanager
async def opened() -> AsyncIterator[list[Row]]:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(PrivateRabbitMQ())
        place = Place(server.url, stack)
        await place.open()
        publishing = [
            Contestant("aio-pika, confirmed", place.bare_publisher),
            Contestant("prodkit", place.publisher),
            Contestant("prodkit, the broker alone", place.broker_publisher),
            Contestant("FastStream", place.faststream_publisher),
        ]
        consuming = [
            Contestant("aio-pika, acknowledged", place.bare_consumer),
            Contestant("prodkit", lambda: place.consumer(PREFETCH)),
            Contestant("prodkit, eight at a time", lambda: place.consumer(8)),
            Contestant("FastStream", lambda: place.faststream_consumer(observed=False)),
            Contestant("FastStream, observed", lambda: place.faststream_consumer(observed=True)),
        ]
        yield [
            Row(
                "AMQP, publish and confirm",
                CALLERS,
                publishing,
                PUBLISH_BUDGET,
                PUBLISHED.format(callers=CALLERS),
                tidy=place.purge,
            ),
            Row(
                "AMQP, consume and acknowledge",
                PREFETCH,
                consuming,
                CONSUME_BUDGET,
                CONSUMED.format(messages=MESSAGES, prefetch=PREFETCH),
                things=MESSAGES,
                tidy=place.purge,
            ),
        ]


def observed() -> Pipeline:
    telemetry = Telemetry(
        "benchmark",
        sample_ratio=0.01,
        log=LineSink(open(os.devnull, "wb")),  # noqa: SIM115 - open as long as the process
    )
    return Pipeline(Observe(telemetry), Deadline(5.0))


class Place:
    """One RabbitMQ, and what the contestants have in it; each has a queue of its own."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self._url = url
        self._stack = stack
        self._queues: list[str] = []

    async def open(self) -> None:
        """Connect for what is not measured: filling, and emptying."""
        self._desk = await self._connection()
        self._aside = await self._desk.channel(publisher_confirms=False)

    async def _connection(self) -> Any:
        connection = await aio_pika.connect(self._url)
        self._stack.push_async_callback(connection.close)
        return connection

    async def purge(self) -> None:
        for name in self._queues:
            await (await self._aside.get_queue(name, ensure=False)).purge()

    async def _queue(self, name: str) -> None:
        await self._aside.declare_queue(name, durable=True, arguments=QUORUM)
        self._queues.append(name)

    async def _fill(self, count: int, exchange: str, key: str, queue: str, **options: Any) -> None:
        message = aio_pika.Message(
            BODY, delivery_mode=2, message_id="m-1", type=TYPE, headers={"x-k": "v"}, **options
        )
        target = self._aside.default_exchange
        if exchange:
            target = await self._aside.get_exchange(exchange, ensure=False)
        for _ in range(count):
            await target.publish(message, key, mandatory=False)
        async with asyncio.timeout(30):
            while (
                await self._aside.declare_queue(queue, passive=True)
            ).declaration_result.message_count != count:
                await asyncio.sleep(0.02)

    async def bare_publisher(self) -> Once:
        await self._queue("bare")
        channel = await (await self._connection()).channel(publisher_confirms=True)
        exchange = channel.default_exchange

        async def once() -> None:
            message = aio_pika.Message(
                BODY, delivery_mode=2, message_id="m-1", type=TYPE, headers={"x-k": "v"}
            )
            await exchange.publish(message, "bare", mandatory=True)

        return once

    async def _broker(self, exchange: str) -> AmqpBroker:
        broker = AmqpBroker(self._url, exchange=exchange, prefetch=PREFETCH)
        await broker.start()
        self._stack.push_async_callback(broker.stop)
        await broker.declare("orders", [TYPE])
        self._queues.append(f"{exchange}.orders")
        return broker

    async def broker_publisher(self) -> Once:
        broker = await self._broker("alone")
        headers = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-00", "x-request-id": "r"}
        number = 0

        async def once() -> None:
            nonlocal number
            number += 1
            await broker.publish([Message(f"m{number}", TYPE, BODY, SUBJECT, headers)])

        return once

    async def publisher(self) -> Once:
        broker = await self._broker("whole")

        async def publish(call: Call) -> None:
            event: Event = call.payload
            traceparent, request_id = current_traceparent() or "", call.request_id
            body = event.document("/orders", 1.0, traceparent, request_id)
            headers = {"traceparent": traceparent, "x-request-id": request_id}
            await broker.publish([Message(event.id, event.type, body, event.subject, headers)])

        handler = observed().bind(publish)

        async def once() -> None:
            call = Call(f"publish {TYPE}", request_id="r-1", payload=Event(TYPE, SUBJECT, DATA))
            await handler(call)

        return once

    async def faststream_publisher(self) -> Once:
        from faststream.rabbit import RabbitBroker

        await self._queue("fast")
        broker = RabbitBroker(self._url, logger=None)
        await broker.connect()
        self._stack.push_async_callback(broker.stop)
        event = {"id": "m-1", "type": TYPE, "subject": SUBJECT, "data": DATA}

        async def once() -> None:
            await broker.publish(event, "fast", persist=True)

        return once

    async def bare_consumer(self) -> Drain:
        await self._queue("bare-in")
        connection = await self._connection()

        async def fill(count: int) -> None:
            await self._fill(count, "", "bare-in", "bare-in")

        async def run(count: int, tick: Tick) -> None:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.get_queue("bare-in", ensure=False)
            counted = Counted(count, tick)

            async def handle(message: AbstractIncomingMessage) -> None:
                await message.ack()
                counted.one()

            await queue.consume(handle)
            await counted.wait()
            await channel.close()

        return Drain(fill, run)

    async def consumer(self, concurrency: int) -> Drain:
        name = f"in{concurrency}"
        broker, pipeline = await self._broker(name), observed()

        async def fill(count: int) -> None:
            await self._fill(count, name, TYPE, f"{name}.orders")

        async def run(count: int, tick: Tick) -> None:
            counted = Counted(count, tick)

            async def handle(_event: Event) -> None:
                counted.one()

            consumer = Consumer(
                broker, "orders", {TYPE: handle}, pipeline=pipeline, concurrency=concurrency
            )
            await consumer.start()
            await counted.wait()
            await consumer.stop(5.0)

        return Drain(fill, run)

    async def faststream_consumer(self, *, observed: bool) -> Drain:
        from faststream.rabbit import Channel, RabbitBroker, RabbitQueue
        from faststream.rabbit.prometheus import RabbitPrometheusMiddleware
        from faststream.rabbit.schemas.queue import QueueType
        from prometheus_client import CollectorRegistry

        name = "fast-observed" if observed else "fast-in"
        await self._queue(name)
        registry = CollectorRegistry()
        middlewares = [RabbitPrometheusMiddleware(registry=registry)] if observed else []
        counted = Counted(0, lambda: None)
        queue = RabbitQueue(name, queue_type=QueueType.QUORUM, durable=True)

        async def fill(count: int) -> None:
            await self._fill(count, "", name, name, content_type="application/json")

        async def run(count: int, tick: Tick) -> None:
            nonlocal counted
            counted = Counted(count, tick)
            broker = RabbitBroker(
                self._url,
                logger=None,
                middlewares=middlewares,
                default_channel=Channel(prefetch_count=PREFETCH),
            )

            @broker.subscriber(queue)
            async def handle(_event: dict[str, Any]) -> None:
                counted.one()

            await broker.start()
            await counted.wait()
            await broker.stop()

        return Drain(fill, run)


class Counted:
    """Counts what was handled, until it is all."""

    def __init__(self, count: int, tick: Tick) -> None:
        self._left = count
        self._tick = tick
        self._all = asyncio.Event()

    def one(self) -> None:
        self._tick()
        self._left -= 1
        if self._left == 0:
            self._all.set()

    async def wait(self) -> None:
        async with asyncio.timeout(60):
            await self._all.wait()
