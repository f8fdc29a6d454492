"""What the gRPC door and the local door share: methods, and what travels beside a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from prodkit.call import CURRENT, Call
from prodkit.errors import ConfigurationError
from prodkit.pipeline import Pipeline

#: What every such call says it came by, a socket or not: telemetry must not change with the wire.
TRANSPORT: Final = "grpc"
#: The one operation under which calls to methods that nobody registered are counted.
OTHER: Final = "_OTHER"
REQUEST_ID: Final = "x-request-id"
IDEMPOTENCY_KEY: Final = "idempotency-key"
#: The reason of a refusal to guess which key was meant.
KEY_INVALID: Final = "IDEMPOTENCY_KEY_INVALID"
AUTHORIZATION: Final = "authorization"
#: What a gateway says of its client to the services behind it; an edge door does not believe it.
FORWARDED_ADDRESS: Final = "x-client-address"
#: Under which name every server door keeps the address, forwarded or of the peer.
CLIENT_ADDRESS: Final = "client-address"
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """A method as a door knows it before any call; `full_name` is "/package.Service/Method".

    The types are None, and `safe` too, where the contract's module is not imported: then the
    method has no codec, and refuses policies that keep answers.
    """

    full_name: str
    request_type: type[Message] | None = None
    response_type: type[Message] | None = None
    client_streaming: bool = False
    server_streaming: bool = False
    safe: bool | None = None

    @property
    def service(self) -> str:
        """The service's full name, "package.Service"."""
        return self.full_name[1:].partition("/")[0]

    @property
    def streaming(self) -> bool:
        """Whether either side sends a stream."""
        return self.client_streaming or self.server_streaming


Pipelines: TypeAlias = Callable[[MethodInfo], Pipeline]


def no_policies(method: MethodInfo) -> Pipeline:
    """Give every method the empty pipeline."""
    del method
    return Pipeline()


def pipeline_of(pipelines: Pipelines, method: MethodInfo) -> Pipeline:
    """Ask for the pipeline of a method; ConfigurationError where a pipeline stands for all."""
    if isinstance(pipelines, Pipeline):
        raise ConfigurationError(
            "pipelines must be a function of a method, lambda method: pipeline say, "
            "not a Pipeline by itself"
        )
    return pipelines(method)


def method_info(full_name: str, *, client_streaming: bool, server_streaming: bool) -> MethodInfo:
    """Describe a method with what its contract says, if the contract's module is imported.

    `idempotency_level` NO_SIDE_EFFECTS and IDEMPOTENT both mean safe to repeat; without the option
    the method is undeclared.
    """
    try:
        found = descriptor_pool.Default().FindMethodByName(full_name[1:].replace("/", "."))
    except KeyError:
        return MethodInfo(full_name, None, None, client_streaming, server_streaming)
    level = found.GetOptions().idempotency_level
    return MethodInfo(
        full_name,
        message_factory.GetMessageClass(found.input_type),
        message_factory.GetMessageClass(found.output_type),
        client_streaming,
        server_streaming,
        safe=None if level == MethodOptions.IDEMPOTENCY_UNKNOWN else True,
    )


class MessageCodec:
    """Freezes what a unary method returned, and says what its request amounts to."""

    __slots__ = ("_call", "_response")

    def __init__(self, call: Call, response: type[Message]) -> None:
        self._call = call
        self._response = response

    async def content(self) -> bytes:
        """Return the request's canonical bytes, without the fields marked `debug_redact`."""
        request = type(self._call.payload)()
        request.CopyFrom(self._call.payload)
        _redact(request)
        return bytes(request.SerializeToString(deterministic=True))

    def freeze(self, result: Message) -> bytes:
        """Return the response as bytes."""
        return result.SerializeToString(deterministic=True)

    def thaw(self, data: bytes) -> Message:
        """Return the response that `freeze` was given."""
        return self._response.FromString(data)


def _redact(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            message.ClearField(field.name)
        elif field.message_type is not None:
            for child in _children(value):
                _redact(child)


def _children(value: Message | Mapping[object, object] | Iterable[object]) -> Iterator[Message]:
    """Yield the messages in a field's value: itself, a list's, or a map's."""
    if isinstance(value, Message):
        yield value
        return
    members = value.values() if isinstance(value, Mapping) else value
    yield from (member for member in members if isinstance(member, Message))


_KEY: ContextVar[str | None] = ContextVar("prodkit_idempotency_key", default=None)


@contextmanager
def idempotency_key(key: str) -> Iterator[None]:
    """Give every outbound RPC in the block this idempotency key; one block, one operation."""
    token = _KEY.set(key)
    try:
        yield
    finally:
        _KEY.reset(token)


def outbound_key() -> str | None:
    """Return the key of the `idempotency_key` block that we are in."""
    return _KEY.get()


def forward_caller() -> Callable[[], str]:
    """Return credentials that pass on the bearer token of the call being answered, if it has one.

    Only for services that the caller meant to reach: whoever gets the token can act as the caller.
    """

    def token() -> str:
        call = CURRENT.get()
        value = "" if call is None else call.metadata.get(AUTHORIZATION, "")
        return value[len(_BEARER) :] if value[: len(_BEARER)].lower() == _BEARER else ""

    return token
