"""The gRPC client door."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import grpc

from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.transports.rpc import Pipelines, no_policies
from prodkit.transports.rpc_client import RpcChannel
from prodkit.transports.rpc_outbound import Credentials, Inject, Outbound

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


def open_channel(
    target: str,
    pipelines: Pipelines = no_policies,
    *,
    credentials: Credentials | None = None,
    inject: Inject | None = None,
    safe_methods: Collection[str] = (),
    tls: grpc.ChannelCredentials | None = None,
    message_limit: int = 4 << 20,
    options: Sequence[tuple[str, Any]] = (),
    clock: Clock = SYSTEM_CLOCK,
) -> RpcChannel:
    """Open a channel whose stubs call through the outbound pipeline of each method.

    Calls inherit deadline, request id and principal from `current_call()`. Nothing connects before
    the first call, and calls fail at once (UNAVAILABLE) while nothing is connected. Core's
    transparent retries stay on: they repeat only what never reached a handler.
    """
    settings = (*_OPTIONS, ("grpc.max_receive_message_length", message_limit), *options)
    wire = (
        grpc.aio.insecure_channel(target, settings)
        if tls is None
        else grpc.aio.secure_channel(target, tls, settings)
    )
    return RpcChannel(wire, Outbound(credentials, inject, clock), pipelines, safe_methods)
