"""The consumer: the door through which messages enter a service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias

from prodkit._tasks import complete
from prodkit.call import CURRENT, Call, Kind, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Clock, seconds, wait_asked
from prodkit.data.tasks import Loop, end
from prodkit.errors import (
    ConfigurationError,
    InvalidArgumentError,
    RejectedError,
    ServiceError,
    UnavailableError,
)
from prodkit.messaging.event import Event
from prodkit.pipeline import Next, Pipeline, admit
from prodkit.traits import Trait
from prodkit.transports.broker import Broker, Delivery

Handler: TypeAlias = Callable[[Event], Awaitable[None]]
Settlement: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_RECEIVE = 1.0  # seconds that one wait for messages takes at most
_BARE = Pipeline()
_log = logging.getLogger("prodkit.messaging")


class Consumer:
    """Hands the messages of one queue to handlers, through a pipeline.

    `handlers` maps event types to async functions of the event; the queue subscribes to these
    types. A handler that returns has handled the message. One that raises is tried again after
    `retry_delay`, twice that, and so on up to `retry_max` seconds; after `max_attempts` the message
    is a dead letter. A policy's refusal of the message, and a cancellation, give it back without
    counting. So does a crash, but after `max_deliveries` it is a dead letter all the same: it may
    be what kills the process. What an error asks for (`retry_after`) is waited for, a day at most.
    In an `ordered` queue each subject's messages are handled one after another, and one that fails
    holds those behind it; a dead letter lets them pass.

    Unexpected exceptions are for the pipeline's telemetry to tell; where the pipeline has none,
    the logger `prodkit.messaging` does.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        handlers: Mapping[str, Handler],
        *,
        pipeline: Pipeline = _BARE,
        name: str = "",
        ordered: bool = False,
        concurrency: int = 8,
        max_attempts: int = 5,
        max_deliveries: int = 20,
        retry_delay: float = 1.0,
        retry_max: float = 300.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not handlers:
            raise ConfigurationError(f"queue {queue}: handlers must name an event type at least")
        for option, value in (("concurrency", concurrency), ("max_attempts", max_attempts)):
            if value < 1:
                raise ConfigurationError(f"{option} must be at least 1, not {value!r}")
        self.name = name or f"consumer-{queue}"
        self._broker = broker
        self._queue = queue
        self._ordered = ordered
        self._concurrency = concurrency
        self._max_attempts = max_attempts
        self._max_deliveries = max(max_deliveries, max_attempts)
        self._retry_delay = seconds("retry_delay", retry_delay)
        self._retry_max = seconds("retry_max", retry_max)
        admit(pipeline, Doorway(f"queue {queue}", Kind.CONSUMER))
        self._observed = Trait.OBSERVES in pipeline.traits
        self._handlers = {type_: _bind(pipeline, each) for type_, each in handlers.items()}
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._ended = asyncio.Event()
        self._fetching = Loop(self.name, self._fetch, clock=clock)
        self._extending = Loop(f"{self.name}-leases", self._extend, clock=clock)

    async def start(self) -> None:
        """Declare the queue and begin to receive."""
        await self._broker.declare(self._queue, list(self._handlers), ordered=self._ordered)
        self._fetching.start()
        self._extending.start()

    async def wait(self) -> None:
        """Return when stopped; raise what it died of."""
        await self._fetching.wait()

    async def stop(self, grace: float) -> None:
        """Receive no more, let handlers end within `grace` seconds, cancel and await the rest.

        What was cancelled goes back to its queue.
        """
        try:
            await self._fetching.stop(0.0)
            await end(self._running, grace)
        finally:
            await end(self._running, 0.0)
            self._running.clear()
            await self._extending.stop(0.0)

    async def _fetch(self) -> float:
        for task in [task for task in self._running if task.done()]:
            del self._running[task]
            task.result()
        free = self._concurrency - len(self._running)
        if free == 0:
            # Each tells of its end once: asyncio.wait would ask all of them each time.
            self._ended.clear()
            await self._ended.wait()
            return 0.0
        for delivery in await self._broker.receive(self._queue, free, wait=_RECEIVE):
            task = asyncio.create_task(self._handle(delivery))
            task.add_done_callback(self._has_ended)
            self._running[task] = delivery
        return 0.0

    def _has_ended(self, _: object) -> None:
        self._ended.set()

    async def _extend(self) -> float:
        unsettled = [delivery for task, delivery in self._running.items() if not task.done()]
        if unsettled:
            await self._broker.extend(unsettled)
        return self._broker.lease / 3

    async def _handle(self, delivery: Delivery) -> None:
        try:
            settle = await self._outcome(delivery)
        except asyncio.CancelledError:
            await complete(_settle(partial(self._broker.release, delivery)))
            raise
        await complete(_settle(settle))

    async def _outcome(self, delivery: Delivery) -> Settlement:
        """Handle a message and return what to tell the broker."""
        dead = partial(self._broker.dead, delivery)
        if delivery.deliveries > self._max_deliveries:
            return partial(dead, reason=f"delivered {delivery.deliveries - 1} times, never settled")
        try:
            event = Event.from_json(delivery.message.body)
        except InvalidArgumentError as error:
            return partial(dead, reason=error.message)
        handler = self._handler_of(event.type)
        if handler is None:
            return partial(dead, reason=f"no handler for {event.type}")
        call = self._call(delivery, event)
        CURRENT.set(call)  # this task handles nothing else
        try:
            await handler(call)
        except RejectedError as error:
            if error.refuses(call):
                delay = self._retry_delay if error.retry_after is None else wait_asked(error)
                return partial(self._broker.release, delivery, delay=delay)
            return self._failed(delivery, error)
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            return self._failed(delivery, error)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is a failed attempt
            if not self._observed and not isinstance(error, ServiceError):
                _log.error("%s failed", call.operation, exc_info=error)
            return self._failed(delivery, error)
        return partial(self._broker.ack, delivery)

    def _call(self, delivery: Delivery, event: Event) -> Call:
        call = Call(
            f"{self._queue} {event.type}",
            Kind.CONSUMER,
            transport="message",
            metadata=delivery.message.headers,
            payload=event,
            request_id=event.request_id or new_request_id(),
        )
        call.attempt = delivery.attempt
        return call

    def _failed(self, delivery: Delivery, error: BaseException) -> Settlement:
        if delivery.attempt >= self._max_attempts:
            return partial(self._broker.dead, delivery, reason=_reason(error))
        delay = min(self._retry_max, self._retry_delay * 2.0 ** min(delivery.attempt - 1, 30))
        return partial(self._broker.retry, delivery, delay=max(delay, wait_asked(error)))

    def _handler_of(self, type_: str) -> Next[None] | None:
        exact = self._handlers.get(type_)
        if exact is not None:
            return exact
        for pattern, handler in self._handlers.items():
            if pattern.endswith("*") and type_.startswith(pattern[:-1]):
                return handler
        return None


def _bind(pipeline: Pipeline, handler: Handler) -> Next[None]:
    async def leaf(call: Call) -> None:
        await handler(call.payload)

    return pipeline.bind(leaf)


async def _settle(settlement: Settlement) -> None:
    try:
        await settlement()
    except UnavailableError:
        return  # the broker is away: the lease will end, and the message comes again


def _cancelled() -> bool:
    """Say whether it is this task that was cancelled, and not something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(error: BaseException) -> str:
    """Return what a dead letter may keep: the text of a foreign exception may hold secrets."""
    name = type(error).__name__
    return f"{name}: {error.message}" if isinstance(error, ServiceError) else name
