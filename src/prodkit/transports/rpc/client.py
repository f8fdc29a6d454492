"""The outbound side of RPC doors: a channel for generated stubs, every method behind a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import grpc

from prodkit.transports.rpc.calls import StreamStream, StreamUnary, UnaryStream, UnaryUnary
from prodkit.transports.rpc.context import MetadataLike
from prodkit.transports.rpc.flow import Requests
from prodkit.transports.rpc.method import Pipelines, method_info, no_policies, pipeline_of
from prodkit.transports.rpc.outbound import Outbound, OutboundMethod

C = TypeVar("C")


class _MultiCallable(Generic[C]):
    """A method of a stub; called with grpc.aio's arguments."""

    __slots__ = ("_make", "_method")

    def __init__(self, method: OutboundMethod, make: Callable[..., C]) -> None:
        self._method = method
        self._make = make

    def _begin(
        self,
        payload: Any,
        timeout: float | None,
        metadata: MetadataLike | None,
        credentials: grpc.CallCredentials | None,
        wait_for_ready: bool | None,
    ) -> C:
        method = self._method
        call, task = method.call(payload, timeout, metadata, credentials, wait_for_ready)
        return self._make(call, task, method.channel.clock.monotonic)


class _SendsOne(_MultiCallable[C]):
    __slots__ = ()

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> C:
        del compression  # the channel's, as in grpc.aio, which takes the argument and ignores it
        return self._begin(request, timeout, metadata, credentials, wait_for_ready)


class _SendsMany(_MultiCallable[C]):
    __slots__ = ()

    def __call__(
        self,
        request_iterator: AsyncIterable[Any] | Iterable[Any] | None = None,
        timeout: float | None = None,
        metadata: MetadataLike | None = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> C:
        del compression
        requests = Requests(request_iterator)
        return self._begin(requests, timeout, metadata, credentials, wait_for_ready)


_CALLABLES: Final[dict[tuple[bool, bool], Callable[[OutboundMethod], Any]]] = {
    (False, False): lambda method: _SendsOne(method, UnaryUnary),
    (False, True): lambda method: _SendsOne(method, UnaryStream),
    (True, False): lambda method: _SendsMany(method, StreamUnary),
    (True, True): lambda method: _SendsMany(method, StreamStream),
}


class RpcChannel(grpc.aio.Channel):
    """A `grpc.aio.Channel` for generated stubs, with outbound pipelines over any wire.

    Its stubs raise ServiceError with everything that the peer told; `pipelines` is asked when a
    stub is made, and what cannot work raises ConfigurationError then. `safe_methods` are full
    names that may be repeated although the contract does not say so. Within a transaction of
    `data.database` they call nobody: HeldConnectionError, see `prodkit.holding`.
    """

    def __init__(
        self,
        wire: grpc.aio.Channel,
        outbound: Outbound,
        pipelines: Pipelines = no_policies,
        safe_methods: Collection[str] = (),
    ) -> None:
        self._wire = wire
        self._outbound = outbound
        self._pipelines = pipelines
        self._safe = frozenset(safe_methods)
        self._tasks: set[asyncio.Task[Any]] = set()

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Any:
        """Return the callable for a method with one request and one response."""
        return self._bind(method, self._wire.unary_unary(method, *args, **options), False, False)

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Any:
        """Return the callable for a method with one request and a stream of responses."""
        return self._bind(method, self._wire.unary_stream(method, *args, **options), False, True)

    def stream_unary(self, method: str, *args: Any, **options: Any) -> Any:
        """Return the callable for a method with a stream of requests and one response."""
        return self._bind(method, self._wire.stream_unary(method, *args, **options), True, False)

    def stream_stream(self, method: str, *args: Any, **options: Any) -> Any:
        """Return the callable for a method with streams both ways."""
        return self._bind(method, self._wire.stream_stream(method, *args, **options), True, True)

    def _bind(self, name: str, start: Callable[..., Any], client: bool, server: bool) -> Any:
        info = method_info(name, client_streaming=client, server_streaming=server)
        if name in self._safe:
            info = replace(info, safe=True)
        pipeline = pipeline_of(self._pipelines, info)
        method = OutboundMethod(info, pipeline, start, self._outbound, self._tasks)
        return _CALLABLES[client, server](method)

    async def close(self, grace: float | None = None) -> None:
        """Give the calls under way `grace` seconds, cancel the rest, and close the wire."""
        if self._tasks and grace:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._wire.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the wire."""
        return self._wire.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the wire's state is another."""
        await self._wire.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the wire is connected."""
        await self._wire.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
