"""The methods that services register: what keeps them at start, and how one is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import grpc

from prodkit.errors import ConfigurationError

Registration: TypeAlias = Callable[[Any], None]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_KINDS: Final[Mapping[tuple[bool, bool], str]] = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def behavior(handler: Handler) -> Callable[[Any, Any], Any]:
    """Return the function of a method handler, whichever of the four it is kept as."""
    kind = _KINDS[handler.request_streaming, handler.response_streaming]
    return cast("Callable[[Any, Any], Any]", getattr(handler, kind))


def rewrap(handler: Handler, answer: Callable[[Any, Any], Any]) -> Handler:
    """Return a handler of the same kind around another function."""
    kind = _KINDS[handler.request_streaming, handler.response_streaming]
    wrap = getattr(grpc, f"{kind}_rpc_method_handler")
    return cast("Handler", wrap(answer, handler.request_deserializer, handler.response_serializer))


class Registrar:
    """Stands in for a server in `add_XServicer_to_server`, and keeps what it is given."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.services: set[str] = set()
        self._generic: set[str] = set()

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Note which services were named; their methods come by the other way."""
        for handler in handlers:
            if not isinstance(handler, grpc.ServiceRpcHandler):
                raise ConfigurationError(f"{handler!r} does not tell which methods it answers")
            self._generic.add(handler.service_name())

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Keep the methods of a service."""
        if service_name in self.services:
            raise ConfigurationError(f"{service_name} is registered twice")
        self.services.add(service_name)
        for name, handler in method_handlers.items():
            self.handlers[f"/{service_name}/{name}"] = handler

    def collect(self, registrations: Sequence[Registration]) -> None:
        """Run the registrations."""
        for registration in registrations:
            registration(self)
        for service in self._generic - self.services:
            raise ConfigurationError(
                f"{service}: its generated code does not list its methods; "
                "generate it with grpcio-tools 1.64 or later"
            )
