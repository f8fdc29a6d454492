"""Rate limiter: no caller gets more than its share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TypeVar

from prodkit.call import Call, Kind
from prodkit.clock import SYSTEM_CLOCK, Clock
from prodkit.errors import ConfigurationError, RateLimitedError, UnauthenticatedError
from prodkit.events import Event
from prodkit.pipeline import Next, Trait
from prodkit.policies.gcra import SECOND, MemoryRateLimitStore, Rate, RateLimitStore

__all__ = [
    "MemoryRateLimitStore",
    "Rate",
    "RateExceeded",
    "RateLimitStore",
    "RateLimiter",
    "by_caller",
    "by_client",
    "by_principal",
]

T = TypeVar("T")
_MILLISECOND = 1_000_000
_SERVER = Kind.SERVER  # an Enum's attributes are slow to reach
#: What a structured field string may hold (RFC 9651) without escapes.
_NAME = re.compile(r"[ !#-\[\]-~]+")


@dataclass(frozen=True, slots=True)
class RateExceeded(Event):
    """A call was refused; `retry_after` is in seconds."""

    retry_after: float


def by_principal(call: Call) -> str:
    """Key calls by who makes them; authentication must come before the limiter.

    Raises UnauthenticatedError for a caller that stayed unknown: operations that anybody may call
    are keyed by `by_caller` or `by_client`.
    """
    if call.principal is None:
        raise UnauthenticatedError("this operation is limited per principal, and nobody is known")
    return call.principal.subject


def by_client(call: Call) -> str:
    """Key calls by the client's address, which the door leaves in `metadata["client-address"]`.

    An IPv6 client owns its whole /64 network, so that is the key. Raises ConfigurationError where
    the door knows of no address.
    """
    address = call.metadata.get("client-address")
    if not address:
        raise ConfigurationError(f"by_client: the door {call.transport} gives no client address")
    return _network(address) if ":" in address else address


def by_caller(call: Call) -> str:
    """Key calls by principal where it is known, else by the client's address."""
    if call.principal is not None:
        return f"principal {call.principal.subject}"
    return f"client {by_client(call)}"


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(ip_network((int(parsed) >> 64 << 64, 64)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


class RateLimiter:
    """Refuses the calls of a key that come faster than its `rate`, with RateLimitedError.

    A refusal's `retry_after` is never shorter than the true wait. Every answer of a server carries
    the fields of draft-ietf-httpapi-ratelimit-headers-10 (`fields=False`: none): in
    `RateLimit-Policy`, `q` is the burst and `w` the seconds in which it comes back; in
    `RateLimit`, `t` is the time until it is whole or, once nothing remains, until the next call
    is admitted.

    Limiters that share a store need names of their own. Nothing is queued.
    """

    __slots__ = (
        "_fields",
        "_key",
        "_monotonic",
        "_policy",
        "_prefix",
        "_take",
        "name",
        "rate",
        "traits",
    )

    def __init__(
        self,
        rate: Rate,
        *,
        key: Callable[[Call], str] = by_principal,
        store: RateLimitStore | None = None,
        name: str = "default",
        fields: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(rate, Rate):
            raise ConfigurationError(f"rate must be a Rate, Rate(10, per=1.0) say, not {rate!r}")
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must be printable ASCII without quotes, not {name!r}")
        self.rate = rate
        self.name = name
        self.traits = Trait.NEEDS_PRINCIPAL if key is by_principal else Trait.NONE
        self._key = key
        self._fields = fields
        self._monotonic = clock.monotonic
        self._prefix = f"{name}:"
        self._take = (MemoryRateLimitStore() if store is None else store).take
        window = -(-rate.tolerance // SECOND)
        self._policy = f'"{name}";q={rate.tolerance // rate.interval};w={window}'

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Pass `call` on if its key has something left; raise RateLimitedError if not."""
        rate = self.rate
        now = round(self._monotonic() * SECOND)
        ahead = await self._take(self._prefix + self._key(call), rate, now)
        if self._fields and call.kind is _SERVER:
            self._annotate(call, ahead)
        if ahead > rate.tolerance:
            raise self._refusal(call, ahead)
        return await proceed(call)

    def _annotate(self, call: Call, ahead: int) -> None:
        rate = self.rate
        remaining = (rate.tolerance - ahead) // rate.interval
        if remaining > 0:
            wait = ahead
        else:
            remaining, wait = 0, _wait(rate, ahead)
        limit = f'"{self.name}";r={remaining};t={-(-wait // SECOND)}'
        policy, reply = self._policy, call.reply
        if reply is None:
            call.reply = {"ratelimit-policy": policy, "ratelimit": limit}
            return
        if "ratelimit" in reply:  # one field lists all the limiters
            limit = f"{reply['ratelimit']}, {limit}"
            policy = f"{reply['ratelimit-policy']}, {policy}"
        reply["ratelimit-policy"] = policy
        reply["ratelimit"] = limit

    def _refusal(self, call: Call, ahead: int) -> RateLimitedError:
        rate = self.rate
        retry_after = -(-_wait(rate, ahead) // _MILLISECOND) / 1000
        call.emit(RateExceeded(f"rate_limiter {self.name}", retry_after))
        return RateLimitedError(
            f"more than {rate.limit} calls in {rate.per:g} s",
            call=call,
            policy=f"rate_limiter {self.name}",
            measured=ahead / rate.interval,
            threshold=rate.tolerance // rate.interval,
            retry_after=retry_after,
        )


def _wait(rate: Rate, ahead: int) -> int:
    """Return the nanoseconds until the next call is admitted, given that none is now."""
    excess = ahead - rate.tolerance
    return excess if excess > 0 else excess + rate.interval
