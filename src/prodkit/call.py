"""The call: what every policy sees of a request, whichever door it came through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from random import getrandbits
from types import MappingProxyType
from typing import Any, Protocol, Self

from prodkit.errors import Code
from prodkit.events import Event, Listener

_EMPTY: Mapping[str, str] = MappingProxyType({})
_NO_STATUSES: Mapping[str, int] = MappingProxyType({})
_OK = Code.OK  # an Enum's attributes are slow to reach


class Kind(Enum):
    """Which side of which exchange this is; the values are OpenTelemetry's span kinds."""

    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"
    PRODUCER = "producer"
    INTERNAL = "internal"

    __hash__ = object.__hash__  # Enum's own runs Python, and kinds are looked up on every call


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: a user (`subject` is the id) or a service (`service:<name>`)."""

    subject: str
    permissions: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    session: str = ""
    claims: Mapping[str, object] = field(default_factory=dict, compare=False, repr=False)

    @property
    def service(self) -> str | None:
        """The name of the calling service, or None for a person."""
        return self.subject[8:] if self.subject.startswith("service:") else None


class Codec(Protocol):
    """How a door turns what it carries into bytes and back, where a call can be frozen."""

    async def content(self) -> bytes:
        """Return the request in a canonical form without its secret fields, for a fingerprint."""

    def freeze(self, result: Any) -> bytes:
        """Return `result`, as the handler returned it, as bytes."""

    def thaw(self, data: bytes) -> Any:
        """Return the result that `freeze` was given."""


class Call:
    """One request on its way through a pipeline.

    `operation` names what is called with few distinct values (a route, a method, an event type).
    `deadline` is a `Clock.monotonic` reading or None. `code` is how the call ended when no
    exception says so: a door sets it from a wire status, and HTTP doors keep that status itself in
    `status` (0: none). `statuses` are the HTTP statuses of the application's own reasons. `safe`
    says whether the operation may be repeated: True, False, or None for undeclared. `edge`:
    `metadata` comes from a stranger and is not believed. `retry_after` (seconds) is what the callee
    asked for. `payload` belongs to the door alone.
    """

    __slots__ = (
        "_first_message",
        "attempt",
        "code",
        "codec",
        "deadline",
        "edge",
        "key",
        "kind",
        "listener",
        "metadata",
        "operation",
        "payload",
        "principal",
        "reply",
        "request_id",
        "retry_after",
        "safe",
        "status",
        "statuses",
        "streaming",
        "transport",
    )

    def __init__(
        self,
        operation: str,
        kind: Kind = Kind.INTERNAL,
        *,
        transport: str = "function",
        metadata: Mapping[str, str] = _EMPTY,
        payload: Any = None,
        deadline: float | None = None,
        principal: Principal | None = None,
        key: str | None = None,
        safe: bool | None = None,
        codec: Codec | None = None,
        request_id: str = "",
        streaming: bool = False,
        edge: bool = False,
    ) -> None:
        self.operation = operation
        self.kind = kind
        self.transport = transport
        self.metadata = metadata
        self.payload = payload
        self.deadline = deadline
        self.principal = principal
        self.key = key
        self.safe = safe
        self.codec = codec
        self.request_id = request_id
        self.streaming = streaming
        self.edge = edge
        self.attempt = 1
        self.code = _OK
        self.status = 0
        self.statuses = _NO_STATUSES
        self.retry_after: float | None = None
        self.reply: dict[str, str] | None = None
        self.listener: Listener | None = None
        self._first_message: list[Callable[[], None]] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may run more than once: declared safe, or keyed, and no stream."""
        return (self.safe is True or self.key is not None) and not self.streaming

    def emit(self, event: Event) -> None:
        """Tell whoever listens to this call that something happened.

        What a listener raises is logged: who only watches changes nothing of the call.
        """
        if self.listener is not None:
            _tell(self.listener, self, event)

    def subscribe(self, listener: Listener) -> None:
        """Add a listener; those before it keep hearing."""
        earlier = self.listener
        if earlier is None:
            self.listener = listener
            return

        def both(call: Call, event: Event) -> None:
            _tell(earlier, call, event)
            listener(call, event)

        self.listener = both

    def annotate(self, name: str, value: str) -> None:
        """Add a header or a trailing metadatum to what the door will answer."""
        if self.reply is None:
            self.reply = {}
        self.reply[name] = value

    def on_first_message(self, callback: Callable[[], None]) -> None:
        """Run `callback` when the first message of a stream leaves, or the whole of an answer."""
        if self._first_message is None:
            self._first_message = []
        self._first_message.append(callback)

    def first_message(self) -> None:
        """Doors call this once, when the first message of a stream leaves."""
        self.streaming = True
        self.answered()

    def answered(self) -> None:
        """Doors call this where the handler goes on, in background tasks, once the answer left."""
        callbacks, self._first_message = self._first_message, None
        for callback in callbacks or ():
            callback()

    def locate(self) -> None:
        """Find out the operation of a call that was refused before it was routed.

        Telemetry asks for it. Doors that know the operation from the start have nothing to do.
        """

    def fork(self) -> Self:
        """Return a twin of this call for an attempt that runs beside others of it.

        It ends by itself: what becomes of it (`code`, `status`, `retry_after`, `reply`) is its own
        until `adopt`. A payload or metadata that an attempt writes to are the door's to fork: it
        makes its calls of a subclass that does.
        """
        twin = type(self)(
            self.operation,
            self.kind,
            transport=self.transport,
            metadata=self.metadata,
            payload=self.payload,
            deadline=self.deadline,
            principal=self.principal,
            key=self.key,
            safe=self.safe,
            codec=self.codec,
            request_id=self.request_id,
            streaming=self.streaming,
            edge=self.edge,
        )
        twin.attempt = self.attempt
        twin.statuses = self.statuses
        twin.listener = self.listener
        return twin

    def adopt(self, twin: Self) -> None:
        """Take over how `twin`, a fork of this call, ended; its deadline was the attempt's."""
        self.code = twin.code
        self.status = twin.status
        self.retry_after = twin.retry_after
        self.metadata = twin.metadata
        self.payload = twin.payload
        for name, value in (twin.reply or {}).items():
            self.annotate(name, value)

    def __copy__(self) -> Self:
        return self.fork()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what was called; payload, listener and the rest belong to this process."""
        return _remade, (self.operation, self.kind, self.transport, self.request_id)

    def __repr__(self) -> str:
        return f"<Call {self.kind.value} {self.transport} {self.operation!r} {self.code.name}>"


def _remade(operation: str, kind: Kind, transport: str, request_id: str) -> Call:
    return Call(operation, kind, transport=transport, request_id=request_id)


def _tell(listener: Listener, call: Call, event: Event) -> None:
    try:
        listener(call, event)
    except Exception:
        logging.getLogger(__name__).exception("a listener failed to hear %r", event)


#: The inbound call that the current task answers; doors set it, outbound doors inherit from it.
CURRENT: ContextVar[Call | None] = ContextVar("prodkit_call", default=None)


def new_request_id() -> str:
    """Return an id for work that no request asked for, or whose request brought none."""
    return f"{getrandbits(128):032x}"


def current_call() -> Call | None:
    """Return the inbound call that the current task is answering, or None outside of one."""
    return CURRENT.get()
