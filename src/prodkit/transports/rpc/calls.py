"""What a stub's method returns: the call objects of grpc.aio, over a task that runs a pipeline."""

from __future__ import annotations

import asyncio
from asyncio import CancelledError
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Final, Self

import grpc

from prodkit.call import Call
from prodkit.errors import Code, code_of
from prodkit.transports.rpc.flow import Flow
from prodkit.transports.rpc.pipe import Pipe, PipeClosedError
from prodkit.transports.rpc.status import STATUS

_FINISHED: Final = "RPC already finished."
_MIXED: Final = "The iterator and read/write APIs may not be mixed on a single RPC."


class OutboundCall(Call):
    """A call with what the wire needs to start it, and the wire's own call once it did."""

    __slots__ = (
        "binary",
        "credentials",
        "flow",
        "headers",
        "own_deadline",
        "wait_for_ready",
        "wire",
    )
    binary: tuple[tuple[str, bytes], ...]
    credentials: grpc.CallCredentials | None
    flow: Flow | None
    headers: dict[str, str]  # `metadata`, as this side may write them
    own_deadline: float | None
    wait_for_ready: bool | None
    wire: Any

    def fork(self) -> Self:
        """Return a twin for an attempt that runs beside others, with metadata of its own."""
        twin = super().fork()
        twin.metadata = twin.headers = dict(self.headers)
        twin.binary = self.binary
        twin.credentials = self.credentials
        twin.flow = None  # streams have no forks
        twin.own_deadline = self.own_deadline
        twin.wait_for_ready = self.wait_for_ready
        twin.wire = None
        return twin

    def adopt(self, twin: Self) -> None:
        """Take over how `twin` ended, and its wire: whose metadata the caller may ask for."""
        super().adopt(twin)
        self.headers = twin.headers
        self.wire = twin.wire


class _StubCall(grpc.aio.Call):
    """Status, metadata and cancellation, alike for all four kinds."""

    def __init__(self, call: OutboundCall, task: asyncio.Task[Any], clock: Callable[[], float]):
        self._call = call
        self._task = task
        self._clock = clock

    def __del__(self) -> None:
        # As in grpc.aio: a call that nobody holds any more is given up.
        if not self._task.done() and not self._task.get_loop().is_closed():
            self._task.cancel()

    def cancel(self) -> bool:
        return not self._task.done() and self._task.cancel()

    def cancelled(self) -> bool:
        return self._task.cancelled()

    def done(self) -> bool:
        return self._task.done()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._task.add_done_callback(lambda _: callback(self))

    def time_remaining(self) -> float | None:
        deadline = self._call.own_deadline
        return None if deadline is None else max(0.0, deadline - self._clock())

    async def wait_for_connection(self) -> None:
        await self.initial_metadata()

    async def initial_metadata(self) -> grpc.aio.Metadata:
        await self._begun()
        wire = self._call.wire
        return grpc.aio.Metadata() if wire is None else await wire.initial_metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        await self._settle()
        wire = self._call.wire
        return grpc.aio.Metadata() if wire is None else await wire.trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        error = await self._error()
        return STATUS[Code.OK if error is None else code_of(error)]

    async def details(self) -> str:
        error = await self._error()
        return "" if error is None else str(error)

    async def _settle(self) -> None:
        await asyncio.wait((self._task,))

    async def _begun(self) -> None:
        await self._settle()

    async def _error(self) -> BaseException | None:
        await self._settle()
        return CancelledError() if self._task.cancelled() else self._task.exception()


class _Answered(_StubCall):
    """One response: awaited."""

    def __await__(self) -> Generator[Any, None, Any]:
        return (yield from self._task)


class _Streamed(_StubCall):
    """A response stream: iterated, or read one by one."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Any]:
        while (message := await self.read()) is not grpc.aio.EOF:
            yield message

    async def read(self) -> Any:
        try:
            return await self._read()
        except CancelledError:
            self.cancel()
            raise

    async def _read(self) -> Any:
        flow = self._call.flow
        assert flow is not None
        await flow.began
        if flow.first is not grpc.aio.EOF:
            first, flow.first = flow.first, grpc.aio.EOF
            return first
        if flow.messages is None or self._task.done():
            return await self._end()
        try:
            message = await anext(flow.messages, grpc.aio.EOF)
        except Exception as error:  # noqa: BLE001 - it goes on through the pipeline
            flow.end(error)
            return await self._end()
        if message is not grpc.aio.EOF:
            return message
        flow.end()
        return await self._end()

    async def _end(self) -> Any:
        await self._task
        return grpc.aio.EOF

    async def _begun(self) -> None:
        # Initial metadata are there with the first message, while the stream goes on.
        assert self._call.flow is not None
        await asyncio.wait((self._call.flow.began,))


class _Sends(_StubCall):
    """A request stream that is written one by one, where no iterator was given."""

    @property
    def _pipe(self) -> Pipe[Any]:
        pipe: Pipe[Any] | None = self._call.payload.pipe
        if pipe is None:
            raise grpc.aio.UsageError(_MIXED)
        return pipe

    async def write(self, request: Any) -> None:
        try:
            await self._pipe.put(request)
        except PipeClosedError:
            raise asyncio.InvalidStateError(_FINISHED) from None

    async def done_writing(self) -> None:
        self._pipe.close()


class UnaryUnary(_Answered, grpc.aio.UnaryUnaryCall[Any, Any]):
    """One request, one response."""


class UnaryStream(_Streamed, grpc.aio.UnaryStreamCall[Any, Any]):
    """One request, a stream of responses."""


class StreamUnary(_Answered, _Sends, grpc.aio.StreamUnaryCall[Any, Any]):
    """A stream of requests, one response."""


class StreamStream(_Streamed, _Sends, grpc.aio.StreamStreamCall[Any, Any]):
    """Streams both ways."""
