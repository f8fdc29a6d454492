"""What the ASGI door reads from a request before anybody else does: headers, and who sent them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, TypeAlias

from prodkit.call import Call, new_request_id
from prodkit.clock import Clock
from prodkit.errors import InvalidArgumentError

Scope: TypeAlias = MutableMapping[str, Any]
RawHeader: TypeAlias = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """What the door's operator decided; PipelineMiddleware documents each."""

    edge: bool
    body_limit: int
    body_timeout: float
    trusted_proxies: int
    clock: Clock
    statuses: Mapping[str, int]
    locate: Callable[[Scope], object] | None = None


#: Headers of this prefix are said between prodkit services; no edge door believes them.
INTERNAL_PREFIX = "x-prodkit-"
#: Further headers that an edge door hides.
_HIDDEN = frozenset({"baggage", "tracestate", "x-client-address"})
#: What a forwarded request id may be: visible ASCII, short enough for a log line.
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_TIMEOUT = re.compile(rb"\d{1,6}(\.\d{1,9})?")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_UNQUOTED = re.compile(r"[ -+\--~]*")  # no comma: it may be two headers that a proxy joined

#: The mark of a scope that passed a door: one that sees it again stands inside that one, and both
#: answer one request. What a handler asks of an app in this process has a scope of its own.
PASSED = "prodkit.passed"
#: Fields that are lists, to which each door adds its own.
_LISTS = frozenset({b"ratelimit", b"ratelimit-policy"})


class Metadata(Mapping[str, str]):
    """The headers of a request as `Call.metadata`: looked up when asked for, decoded as latin-1.

    Names are lower case; a header that came several times reads joined by commas. An edge door
    hides what strangers have no business to say: `baggage`, `tracestate`, every `x-prodkit-`
    header. `client-address` is the door's own word: the peer or, behind `trusted_proxies` hops,
    whom the outermost of them saw. A door that is not an edge takes it from its caller, another
    service, who says it in `x-client-address`.
    """

    __slots__ = ("_edge", "_known", "_scope", "_trusted_proxies")

    def __init__(
        self, scope: Scope, headers: Mapping[bytes, bytes], edge: bool, trusted_proxies: int
    ) -> None:
        self._scope = scope
        self._known = headers  # the last of each name: most questions are for what did not come
        self._edge = edge
        self._trusted_proxies = trusted_proxies

    def get(self, key: str, default: Any = None) -> Any:
        """Return the header `key`, or `default`."""
        if key == "client-address":
            return self._client_address() or default
        name = key.encode("latin-1")
        if name not in self._known:
            return default
        if self._edge and (key in _HIDDEN or key.startswith(INTERNAL_PREFIX)):
            return default
        return joined(self._scope, name).decode("latin-1")

    def _client_address(self) -> str | None:
        if not self._edge and b"x-client-address" in self._known:
            return joined(self._scope, b"x-client-address").decode("latin-1")
        if self._trusted_proxies:
            forwarded = forwarded_address(self._scope, self._trusted_proxies)
            if forwarded is not None:
                return forwarded
        client = self._scope.get("client")
        return client[0] if client else None

    def __getitem__(self, key: str) -> str:
        value: str | None = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        names = {name.decode("latin-1"): None for name, _ in self._scope["headers"]}
        names["client-address"] = None
        return (name for name in names if self.get(name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def inherit(call: Call, outer: Call) -> None:
    """Give `call` what the door around its own knows already."""
    call.deadline = outer.deadline
    call.principal = outer.principal


def listed(headers: list[RawHeader], reply: Mapping[str, str]) -> list[RawHeader]:
    """Return `headers` with those of `reply`, and of each list of rates one field."""
    there = dict(headers)
    for text, value in reply.items():
        name, said = _wire_name(text), value.encode("latin-1")
        if name in there and name in _LISTS:  # a door further in began the list
            said = b", ".join([said, *(more for known, more in headers if known == name)])
            headers = [each for each in headers if each[0] != name]
        headers.append((name, said))
    return headers


@lru_cache(maxsize=256)
def _wire_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def joined(scope: Scope, wanted: bytes) -> bytes:
    """Return the header `wanted` of `scope`, its occurrences joined by commas (RFC 9110, 5.2)."""
    return b", ".join([value for name, value in scope["headers"] if name == wanted])


def forwarded_address(scope: Scope, trusted_proxies: int) -> str | None:
    """Return the client's address as the outermost of our proxies wrote it, or None.

    Everything left of that entry of X-Forwarded-For is the client's own invention. None, because
    the header is too short or holds no address, means that the request came around the proxies.
    """
    hops = joined(scope, b"x-forwarded-for").decode("latin-1").split(",")
    return _address(hops[-trusted_proxies].strip()) if len(hops) >= trusted_proxies else None


def _address(text: str) -> str | None:
    host = text[1:].partition("]")[0] if text.startswith("[") else text
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def request_id_of(sent: bytes | None) -> str:
    """Return the request id that was sent, if it is fit to be written anywhere, else a new one."""
    if sent is None or not _REQUEST_ID.fullmatch(sent):
        return new_request_id()
    return sent.decode()


def timeout_of(sent: bytes) -> float:
    """Return the seconds that an `x-request-timeout` header gives; InvalidArgumentError if none."""
    if not _TIMEOUT.fullmatch(sent):
        raise InvalidArgumentError(
            "x-request-timeout must be a decimal number of seconds", reason="INVALID_TIMEOUT"
        )
    return float(sent)


def idempotency_key_of(*sent: bytes) -> str:
    """Return the key in the one Idempotency-Key header of a request, as it was sent.

    It is a quoted string (draft -07), or bare text without commas. Raises InvalidArgumentError for
    what is neither, and for several: nobody knows which one was meant.
    """
    text = sent[0].decode("latin-1").strip()
    if len(sent) == 1:
        if not text.startswith('"'):
            if _UNQUOTED.fullmatch(text):
                return text
        elif quoted := _QUOTED.fullmatch(text):
            return re.sub(r"\\(.)", r"\1", quoted[1])
    raise InvalidArgumentError(
        "Idempotency-Key must be one quoted string of printable ASCII",
        reason="IDEMPOTENCY_KEY_INVALID",
    )
