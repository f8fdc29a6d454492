"""What a gateway says of its caller to the services behind it, as metadata of their calls."""

from __future__ import annotations

import re
from collections.abc import Collection, MutableMapping
from typing import Any

from prodkit.call import CURRENT
from prodkit.contract import IdempotencyKey, MethodContract
from prodkit.errors import ConfigurationError, InvalidArgumentError, UnauthenticatedError
from prodkit.transports.asgi.request import INTERNAL_PREFIX, idempotency_key_of
from prodkit.transports.rpc.method import (
    AUTHORIZATION,
    FORWARDED_ADDRESS,
    IDEMPOTENCY_KEY,
    REQUEST_ID,
)

#: What the metadata of gRPC can carry.
_PRINTABLE = re.compile(rb"[ -~]*")
_KEY = IDEMPOTENCY_KEY.encode()
#: Bytes that may be forwarded: of the 8 KiB that gRPC's peers promise to take, our own need some.
_LIMIT = 6 << 10


class Forwarding:
    """Makes the metadata of one method's calls.

    Forwarded are `authorization`, the idempotency key where the method takes one, the request id,
    the client's address as the door knows it, and the `headers` named here; nothing else that a
    stranger sends. Deadline and trace are the channel's business. Raises ConfigurationError for a
    header that only prodkit's own doors may say.
    """

    def __init__(self, method: MethodContract, headers: Collection[str]) -> None:
        reserved = {IDEMPOTENCY_KEY, REQUEST_ID, FORWARDED_ADDRESS, "traceparent", "tracestate"}
        names = {name.lower() for name in headers}
        for name in names:
            if name in reserved or name.startswith((INTERNAL_PREFIX, "grpc-")):
                raise ConfigurationError(f"the header {name!r} cannot be forwarded by name")
        self._public = method.access.public
        self._keyed = method.idempotency is not IdempotencyKey.NONE
        self._names = {name.encode("ascii"): name for name in (AUTHORIZATION, *names)}

    def metadata(self, scope: MutableMapping[str, Any]) -> tuple[tuple[str, str], ...]:
        """Return the metadata for the request of `scope`.

        Raises UnauthenticatedError at once where the method is not public and no credentials came,
        so that a stranger learns nothing of what the method would make of the request. What is too
        large for any service to take raises InvalidArgumentError (HTTP 431).
        """
        found: dict[str, str] = {}
        keys: list[bytes] = []
        for raw, value in scope["headers"]:
            name = self._names.get(raw)
            if name is not None:
                if name in found or not _PRINTABLE.fullmatch(value):
                    raise InvalidArgumentError(f"the header {name} cannot be read")
                found[name] = value.decode("ascii")
            elif raw == _KEY:
                keys.append(value)
        if not self._public and AUTHORIZATION not in found:
            raise UnauthenticatedError("credentials are needed: Authorization: Bearer ...")
        if self._keyed and keys:
            found[IDEMPOTENCY_KEY] = _key(keys)
        if sum(map(len, found.values())) > _LIMIT:
            names = ", ".join(sorted(found))
            raise InvalidArgumentError(
                f"{names}: more than {_LIMIT} bytes together", reason="HEADERS_TOO_LARGE"
            )
        _add_caller(found, scope)
        return tuple(found.items())


def _key(sent: list[bytes]) -> str:
    call = CURRENT.get()
    known = None if call is None else call.key
    return known or idempotency_key_of(*sent)


def _add_caller(found: dict[str, str], scope: MutableMapping[str, Any]) -> None:
    """Add who is calling: in the door's words, or, without a door around, the server's."""
    call = CURRENT.get()
    if call is None:
        client = scope.get("client")
        address = str(client[0]) if client else ""
    else:
        address = call.metadata.get("client-address", "")
        if call.request_id:
            found[REQUEST_ID] = call.request_id
    if address:
        found[FORWARDED_ADDRESS] = address
