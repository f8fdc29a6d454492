"""The context that servicers are given, whichever wire the call came by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final, Never, TypeAlias

import grpc

from prodkit.call import Call
from prodkit.errors import Code
from prodkit.transports.rpc.method import CLIENT_ADDRESS, FORWARDED_ADDRESS
from prodkit.transports.rpc.status import DETAILS, STATUS, stated

MetadataLike: TypeAlias = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]

#: What a stranger may not tell us: baggage, trace state, and what only our own hops say.
_INTERNAL: Final = ("baggage", "tracestate", FORWARDED_ADDRESS)
_INTERNAL_PREFIX: Final = "x-prodkit-"


class InboundCall(Call):
    """A call with the servicer's context, which the leaf of its pipeline needs."""

    __slots__ = ("ambiguous", "context")
    ambiguous: bool  # it came with several idempotency keys
    context: InboundContext


class InboundContext(grpc.aio.ServicerContext[Any, Any]):
    """A `grpc.aio.ServicerContext` whose refusals and messages pass through the pipeline.

    `abort` raises the ServiceError that stands for the code, so that policies see it; reading goes
    through `call.payload`, so that what a middleware put around the requests is never gone past.
    """

    def __init__(self, wire: grpc.aio.ServicerContext[Any, Any], call: Call) -> None:
        self._wire = wire
        self._call = call
        self._own_deadline = call.deadline
        self._requests: AsyncIterator[Any] | None = None
        self._began = False
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()

    async def read(self) -> Any:
        """Return the next request of a stream, or `grpc.aio.EOF`."""
        if self._requests is None:
            self._requests = aiter(self._call.payload)
        return await anext(self._requests, grpc.aio.EOF)

    async def write(self, message: Any) -> None:
        """Send one message of a response stream; waits while the reader is behind."""
        await self._wire.write(message)
        if not self._began:
            self._began = True
            self._call.first_message()
            # A Deadline judged the call up to here; what follows has the caller's own time alone.
            self._call.deadline = self._own_deadline

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: MetadataLike = ()
    ) -> Never:
        """End the call with `code`, by raising; details in the metadata are kept."""
        given = tuple(trailing_metadata)
        self.trailing += tuple(pair for pair in given if pair[0] != DETAILS)
        error = grpc.aio.AioRpcError(code, None, grpc.aio.Metadata(*given), details)
        raise stated(error, details or code.name)

    async def abort_with_status(self, status: grpc.Status) -> Never:
        """End the call with `status`, by raising."""
        await self.abort(status.code, status.details, tuple(status.trailing_metadata or ()))

    def set_code(self, code: grpc.StatusCode) -> None:
        """Let the call end with `code` although the handler returns."""
        # The wire is told at the end: until then a policy may answer in the handler's place.
        self._call.code = Code(code.value[0])

    def set_details(self, details: str) -> None:
        """Say why, beside `set_code`."""
        self._wire.set_details(details)

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Send these after the last message, beside what the policies send."""
        self.trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> grpc.aio.Metadata:
        """Return what `set_trailing_metadata` was given."""
        return grpc.aio.Metadata(*self.trailing)

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Send these before the first message."""
        await self._wire.send_initial_metadata(initial_metadata)

    def invocation_metadata(self) -> grpc.aio.Metadata | None:
        """Return what the caller sent, untouched; `call.metadata` is the view to trust."""
        return self._wire.invocation_metadata()

    def time_remaining(self) -> float:
        """Return the seconds that the caller still waits, None for ever."""
        return self._wire.time_remaining()

    def code(self) -> grpc.StatusCode:
        """Return what `set_code` was given."""
        return STATUS[self._call.code]

    def details(self) -> str:
        """Return what `set_details` was given."""
        return self._wire.details()

    def done(self) -> bool:
        """Say whether the call has ended."""
        return self._wire.done()

    def cancelled(self) -> bool:
        """Say whether the call was cancelled."""
        return self._wire.cancelled()

    def add_done_callback(self, callback: Any) -> None:
        """Call back when the call has ended."""
        self._wire.add_done_callback(callback)

    def peer(self) -> str:
        """Return the address of the hop before us."""
        return self._wire.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return who the peer proved to be, under TLS."""
        return self._wire.peer_identities()

    def peer_identity_key(self) -> str | None:
        """Return which property `peer_identities` are of."""
        return self._wire.peer_identity_key()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS knows of the peer."""
        return self._wire.auth_context()

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the response."""
        self._wire.set_compression(compression)

    def disable_next_message_compression(self) -> None:
        """Send the next message uncompressed."""
        self._wire.disable_next_message_compression()


def metadata_view(wire: grpc.aio.ServicerContext[Any, Any], *, edge: bool) -> dict[str, str]:
    """Return the text metadata that a handler may rely on, names in lower case.

    `client-address` is the peer's, or what an internal hop forwarded. At an edge the internal
    names are dropped, and a trace's sampled flag with them: sampling is ours to decide.
    """
    pairs = wire.invocation_metadata() or ()
    metadata = {name: value for name, value in pairs if type(value) is str}
    metadata[CLIENT_ADDRESS] = metadata.get(FORWARDED_ADDRESS) or _host(wire.peer())
    if not edge:
        return metadata
    metadata[CLIENT_ADDRESS] = _host(wire.peer())
    for name in tuple(metadata):
        if name in _INTERNAL or name.startswith(_INTERNAL_PREFIX):
            del metadata[name]
    if "traceparent" in metadata:
        metadata["traceparent"] = metadata["traceparent"][:53] + "00"
    return metadata


def _host(peer: str) -> str:
    """Take the address out of "ipv4:127.0.0.1:80", "ipv6:%5B::1%5D:80" or "unix:..."."""
    family, _, address = peer.partition(":")
    if family == "ipv4":
        return address.rpartition(":")[0]
    if family == "ipv6":
        return address.rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")
    return family
