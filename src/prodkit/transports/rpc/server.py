"""The inbound side of RPC doors: registered methods, each behind its pipeline, bound at start."""

from __future__ import annotations

import asyncio
import inspect
import logging
from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias, cast

import grpc

from prodkit.call import CURRENT, Kind, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import Clock
from prodkit.errors import (
    Code,
    ConfigurationError,
    InvalidArgumentError,
    ServiceError,
    ShuttingDownError,
    UnavailableError,
)
from prodkit.pipeline import Pipeline, admit
from prodkit.traits import Trait
from prodkit.transports.rpc.context import InboundCall, InboundContext, metadata_view
from prodkit.transports.rpc.method import (
    IDEMPOTENCY_KEY,
    KEY_INVALID,
    OTHER,
    REQUEST_ID,
    TRANSPORT,
    MessageCodec,
    MethodInfo,
    Pipelines,
    method_info,
    pipeline_of,
)
from prodkit.transports.rpc.registrar import Handler, Registrar, Registration, behavior, rewrap
from prodkit.transports.rpc.status import STATUS, to_status, trailers

WireContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_LOG: Final = logging.getLogger(__name__)
_REQUEST_ID_LIMIT: Final = 128
_OK: Final = Code.OK  # an Enum's attributes are slow to reach


class InFlight:
    """The tasks that answer calls right now; a drain waits for them, then ends them."""

    __slots__ = ("ending", "tasks")

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.ending = False

    async def drain(self, grace: float) -> None:
        """Wait `grace` seconds for what runs, then cancel the rest and wait until it is gone."""
        if self.tasks and grace > 0:
            await asyncio.wait(self.tasks, timeout=grace)
        self.ending = True
        while self.tasks:
            for task in self.tasks:
                task.cancel()
            await asyncio.wait(self.tasks)
        self.ending = False


class Door:
    """What all methods of one server share."""

    __slots__ = ("clock", "edge", "in_flight")

    def __init__(self, clock: Clock, *, edge: bool) -> None:
        self.clock = clock
        self.edge = edge
        self.in_flight = InFlight()


class InboundMethod:
    """One method behind its pipeline; `answer` is what the wire calls, for all four kinds."""

    __slots__ = ("_codec", "_door", "_handle", "_info", "_observed", "_refuse_keys", "_streams")

    def __init__(
        self, info: MethodInfo, function: Callable[..., Any], pipeline: Pipeline, door: Door
    ) -> None:
        admit(
            pipeline,
            Doorway(
                f"{TRANSPORT} {info.full_name}",
                Kind.SERVER,
                replays=info.request_type is not None and not info.streaming,
                substitutes=True,
                streams=info.streaming,
            ),
        )
        self._info = info
        self._door = door
        self._streams = info.streaming
        self._codec = info.response_type if Trait.REPLAYS in pipeline.traits else None
        self._observed = Trait.OBSERVES in pipeline.traits
        self._handle = pipeline.bind(cast("Any", _leaf(info, function)))
        self._refuse_keys = pipeline.bind(cast("Any", _two_keys))

    async def answer(self, payload: Any, wire: WireContext) -> Any:
        """Answer one call: the response, or None after the last message of a stream."""
        call = self._receive(payload, wire)
        CURRENT.set(call)
        task = asyncio.current_task()
        assert task is not None
        in_flight = self._door.in_flight
        in_flight.tasks.add(task)
        try:
            handle = self._refuse_keys if call.ambiguous else self._handle
            result = await handle(call)
            if call.code is not _OK:  # told by `set_code`, and not mended by a policy since
                wire.set_code(STATUS[call.code])
            if call.reply or call.context.trailing:
                wire.set_trailing_metadata(_reply(call))
        except CancelledError:
            if in_flight.ending:
                await self._refuse(_shutting_down(), call, wire)
            raise
        except Exception as error:
            await self._refuse(error, call, wire)
            raise
        finally:
            in_flight.tasks.discard(task)
        return result

    def _receive(self, payload: Any, wire: WireContext) -> InboundCall:
        info, door = self._info, self._door
        metadata = metadata_view(wire, edge=door.edge)
        remaining: float | None = wire.time_remaining()
        request_id = metadata.get(REQUEST_ID, "")
        if not 0 < len(request_id) <= _REQUEST_ID_LIMIT:
            request_id = new_request_id()
        call = InboundCall(
            info.full_name,
            Kind.SERVER,
            transport=TRANSPORT,
            metadata=metadata,
            payload=payload,
            deadline=None if remaining is None else door.clock.monotonic() + remaining,
            safe=info.safe,
            request_id=request_id,
            streaming=self._streams,
            edge=door.edge,
        )
        call.ambiguous = False
        if IDEMPOTENCY_KEY in metadata:
            names = [name for name, _ in wire.invocation_metadata() or ()]
            call.ambiguous = names.count(IDEMPOTENCY_KEY) > 1
            call.key = metadata[IDEMPOTENCY_KEY].strip().removeprefix('"').removesuffix('"')
        if self._codec is not None:
            call.codec = MessageCodec(call, self._codec)
        call.context = InboundContext(wire, call)
        return call

    async def _refuse(self, error: BaseException, call: InboundCall, wire: WireContext) -> None:
        """Tell the wire; raises, as every abort does."""
        if not isinstance(error, ServiceError) and not self._observed:
            _LOG.error("%s failed", call.operation, exc_info=error)
        status = to_status(error, call)
        trailing = (*_reply(call), *trailers(status, error, call))
        await wire.abort(STATUS[Code(status.code)], status.message, trailing)


def _leaf(info: MethodInfo, function: Callable[..., Any]) -> Callable[[InboundCall], Any]:
    if inspect.isasyncgenfunction(function):

        async def stream(call: InboundCall) -> None:
            context = call.context
            async with aclosing(function(call.payload, context)) as messages:
                async for message in messages:
                    await context.write(message)

        return stream
    if getattr(function, "__module__", "").endswith("_pb2_grpc"):
        function = _unimplemented  # left as it was generated
    if not inspect.iscoroutinefunction(function):
        raise ConfigurationError(f"{info.full_name}: the servicer's method must be `async def`")

    def whole(call: InboundCall) -> Any:
        return function(call.payload, call.context)

    return whole


def _shutting_down() -> UnavailableError:
    # No ShuttingDownError, which would say that the call did not run.
    return UnavailableError("the server is shutting down", reason=ShuttingDownError.reason)


async def _two_keys(call: InboundCall) -> None:
    raise InvalidArgumentError("one idempotency key, not several", reason=KEY_INVALID)


async def _unimplemented(payload: object, context: object) -> None:
    raise ServiceError("no such method", code=Code.UNIMPLEMENTED)


def _reply(call: InboundCall) -> tuple[tuple[str, str | bytes], ...]:
    added = tuple((name.lower(), value) for name, value in (call.reply or {}).items())
    return added + call.context.trailing


def bind(registrations: Sequence[Registration], pipelines: Pipelines, door: Door) -> Registrar:
    """Put every registered method behind its pipeline.

    Raises ConfigurationError for what cannot work, before anything listens.
    """
    registrar = Registrar()
    registrar.collect(registrations)
    for full_name, handler in registrar.handlers.items():
        info = method_info(
            full_name,
            client_streaming=handler.request_streaming,
            server_streaming=handler.response_streaming,
        )
        method = InboundMethod(info, behavior(handler), pipeline_of(pipelines, info), door)
        registrar.handlers[full_name] = rewrap(handler, method.answer)
    return registrar


def unknown_handler(pipeline: Pipeline, door: Door) -> Handler:
    """Return the handler for methods that nobody registered: UNIMPLEMENTED, counted as one."""
    info = MethodInfo(OTHER, client_streaming=True)
    method = InboundMethod(info, _unimplemented, pipeline, door)
    return grpc.stream_unary_rpc_method_handler(method.answer)
