"""The gRPC client door."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, cast

import grpc

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.transports.rpc.client import RpcChannel
from prodkit.transports.rpc.method import Pipelines, no_policies
from prodkit.transports.rpc.outbound import Credentials, Inject, Outbound

_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.lb_policy_name", "round_robin"),
    # A peer that vanished without a word is noticed within 35 s, and only while calls wait for it.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Core's own two minutes would outlast most restarts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Service to service: the environment's web proxy has no part in it.
    ("grpc.enable_http_proxy", 0),
)

#: Core's health-checking client: it watches the health of each address, of all its services.
_WATCHED: Final = ("grpc.service_config", '{"healthCheckConfig": {"serviceName": ""}}')

_KINDS: Final = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})


def open_channel(
    target: str,
    pipelines: Pipelines = no_policies,
    *,
    credentials: Credentials | None = None,
    inject: Inject | None = None,
    safe_methods: Collection[str] = (),
    tls: grpc.ChannelCredentials | None = None,
    message_limit: int = 4 << 20,
    watch_health: bool = False,
    options: Sequence[tuple[str, Any]] = (),
    clock: Clock = SYSTEM_CLOCK,
) -> RpcChannel:
    """Open a channel whose stubs call through the outbound pipeline of each method.

    Calls inherit deadline, request id and principal from `current_call()`. Nothing connects before
    the first call, and calls fail at once (UNAVAILABLE) while nothing is connected. Core's
    transparent retries stay on: they repeat only what never reached a handler.

    `target` is HOST:PORT, "ipv4:IP:PORT,IP:PORT" or another of gRPC's names; calls take turns among
    its addresses. With `watch_health` they go only to those that report SERVING (grpc.health.v1;
    who has no such service counts as serving): a process that drains gets no new calls.

    `inject` adds the trace context: `prodkit.telemetry.inject`; without it the server begins a
    trace of its own. `credentials` gives the bearer token ("" for none). `safe_methods` names, in
    full, those that a Retry may repeat without a key. `message_limit` is in bytes.
    """
    settings = (*_OPTIONS, ("grpc.max_receive_message_length", message_limit), *options)
    if watch_health:
        settings = (*settings, _WATCHED)

    def connect() -> grpc.aio.Channel:
        if tls is None:
            return grpc.aio.insecure_channel(target, settings)
        return grpc.aio.secure_channel(target, tls, settings)

    wire = cast("grpc.aio.Channel", cast("Any", _LateWire(connect)))
    return RpcChannel(wire, Outbound(credentials, inject, clock), pipelines, safe_methods)


class _LateWire:
    """A channel that comes into being with its first use.

    grpc.aio ties a channel to the event loop that is current when it is made; services are put
    together before their loop runs.
    """

    def __init__(self, connect: Callable[[], grpc.aio.Channel]) -> None:
        self._connect = connect
        self._channel: grpc.aio.Channel | None = None

    def __getattr__(self, name: str) -> Any:
        """Return what the channel has under `name`; methods of stubs only once they are called."""
        if name in _KINDS:
            return partial(self._method, name)
        return getattr(self._made(), name)

    async def close(self, grace: float | None = None) -> None:
        """Close the channel, if there is one."""
        if self._channel is not None:
            await self._channel.close(grace)

    def _made(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = self._connect()
        return self._channel

    def _method(self, kind: str, *args: Any, **options: Any) -> Callable[..., Any]:
        start: Callable[..., Any] | None = None

        def begin(*request: Any, **how: Any) -> Any:
            nonlocal start
            if start is None:
                start = getattr(self._made(), kind)(*args, **options)
            return start(*request, **how)

        return begin
