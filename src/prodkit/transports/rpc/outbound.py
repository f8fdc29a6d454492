"""One outbound method behind its pipeline: what it inherits, what it sends, how it fails."""

from __future__ import annotations

import asyncio
import inspect
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import grpc

from prodkit.call import CURRENT, Kind, new_request_id
from prodkit.checks import Doorway
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import DeadlineExceededError
from prodkit.holding import check_nothing_held
from prodkit.pipeline import Next, Pipeline, admit
from prodkit.transports.rpc.calls import OutboundCall
from prodkit.transports.rpc.context import MetadataLike
from prodkit.transports.rpc.flow import Flow, Requests
from prodkit.transports.rpc.method import (
    AUTHORIZATION,
    IDEMPOTENCY_KEY,
    REQUEST_ID,
    TRANSPORT,
    MethodInfo,
    outbound_key,
)
from prodkit.transports.rpc.status import from_rpc_error

Credentials: TypeAlias = Callable[[], str | Awaitable[str]]
Inject: TypeAlias = Callable[[dict[str, str]], None]
_Run: TypeAlias = Callable[[OutboundCall], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True)
class Outbound:
    """What all methods of one channel share.

    `credentials` gives the bearer token of each call ("" for none); `inject` adds the trace
    context to its metadata.
    """

    credentials: Credentials | None = None
    inject: Inject | None = None
    clock: Clock = SYSTEM_CLOCK


class OutboundMethod:
    """One method of a channel behind its pipeline."""

    __slots__ = ("_flows", "_info", "_run", "_start", "_streams", "_tasks", "channel")

    def __init__(
        self,
        info: MethodInfo,
        pipeline: Pipeline,
        start: Callable[..., Any],
        channel: Outbound,
        tasks: set[asyncio.Task[Any]],
    ) -> None:
        admit(
            pipeline,
            Doorway(
                f"{TRANSPORT} client {info.full_name}",
                Kind.CLIENT,
                substitutes=True,
                streams=info.streaming,
                principal=True,
                repeatable=info.safe,
                instead=_instead,
            ),
        )
        self.channel = channel
        self._info = info
        self._start = start
        self._tasks = tasks
        self._streams = info.streaming
        self._flows = info.server_streaming
        leaf = self._stream if info.server_streaming else self._whole
        self._run = cast("_Run", pipeline.bind(cast("Next[Any]", leaf)))

    def call(
        self,
        payload: Any,
        timeout: float | None,
        metadata: MetadataLike | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
    ) -> tuple[OutboundCall, asyncio.Task[Any]]:
        """Start a call in a task of its own, as grpc.aio does. Raises HeldConnectionError."""
        check_nothing_held(self._info.full_name)
        call = self._describe(payload, timeout, metadata)
        call.credentials = credentials
        call.wait_for_ready = wait_for_ready
        call.wire = None
        call.flow = flow = Flow() if self._flows else None
        task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        if flow is not None:
            task.add_done_callback(flow.release)
        if isinstance(payload, Requests) and payload.pipe is not None:
            pipe = payload.pipe
            task.add_done_callback(lambda _: pipe.close())
        return call, task

    def _describe(
        self, payload: Any, timeout: float | None, given: MetadataLike | None
    ) -> OutboundCall:
        info = self._info
        metadata: dict[str, str] = {}
        binary: list[tuple[str, bytes]] = []
        for name, value in given or ():
            if isinstance(value, str):
                metadata[name.lower()] = value
            else:
                binary.append((name.lower(), value))
        call = OutboundCall(
            info.full_name,
            Kind.CLIENT,
            transport=TRANSPORT,
            metadata=metadata,
            payload=payload,
            key=metadata.get(IDEMPOTENCY_KEY) or outbound_key(),
            safe=info.safe,
            streaming=self._streams,
        )
        call.headers = metadata
        call.binary = tuple(binary)
        if timeout is not None:
            call.deadline = self.channel.clock.monotonic() + timeout
        parent = CURRENT.get()
        if parent is not None:
            call.principal = parent.principal
            call.request_id = parent.request_id
            if parent.deadline is not None:
                call.deadline = min(parent.deadline, call.deadline or parent.deadline)
        call.request_id = metadata.setdefault(REQUEST_ID, call.request_id or new_request_id())
        call.own_deadline = call.deadline
        return call

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # A call that nobody awaits may fail: that is no news, as in grpc.aio.
        if not task.cancelled():
            task.exception()

    async def _whole(self, call: OutboundCall) -> Any:
        try:
            call.wire = wire = await self._open(call, call.deadline)
            return await wire
        except grpc.aio.AioRpcError as error:
            raise _cause(call, from_rpc_error(error)) from error
        except CancelledError as error:
            raise _cause(call, error) from None

    async def _stream(self, call: OutboundCall) -> None:
        assert call.flow is not None
        # A Deadline in the pipeline judges the first message; the wire has the caller's own time.
        call.wire = wire = await self._open(call, call.own_deadline)
        try:
            await call.flow.carry(aiter(wire), call)
        except grpc.aio.AioRpcError as error:
            raise _cause(call, from_rpc_error(error)) from error
        except CancelledError as error:
            raise _cause(call, error) from None
        finally:
            wire.cancel()

    async def _open(self, call: OutboundCall, deadline: float | None) -> Any:
        metadata = call.headers
        channel = self.channel
        if channel.credentials is not None:
            token = channel.credentials()
            bearer = await token if inspect.isawaitable(token) else token
            if bearer:
                metadata[AUTHORIZATION] = f"Bearer {bearer}"
        if call.key is not None:
            metadata[IDEMPOTENCY_KEY] = call.key
        if channel.inject is not None:
            channel.inject(metadata)
        timeout = None if deadline is None else deadline - channel.clock.monotonic()
        if timeout is not None and timeout <= 0:
            raise DeadlineExceededError("the deadline had passed before the call began")
        return self._start(
            call.payload,
            timeout=timeout,
            metadata=(*metadata.items(), *call.binary),
            credentials=call.credentials,
            wait_for_ready=call.wait_for_ready,
        )


def _instead(kind: type[Exception]) -> str:
    """Say what a policy should go by that waits for an exception of grpc's."""
    return "write its code, Code.UNAVAILABLE say" if issubclass(kind, grpc.RpcError) else ""


def _cause(call: OutboundCall, error: BaseException) -> BaseException:
    """Return what went wrong with the requests themselves, where that is why the call ended."""
    payload = call.payload
    return (payload.error or error) if isinstance(payload, Requests) else error
