"""prodkit's own method options, read from the descriptors and said in prodkit's own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.duration_pb2 import Duration

from prodkit.errors import ConfigurationError
from prodkit.security.authorization import Access
from prodkit.v1 import options_pb2


class IdempotencyKey(Enum):
    """Whether a method takes an Idempotency-Key; where it does not, the header has no effect."""

    NONE = "none"
    ACCEPTED = "accepted"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class RateOption:
    """At most `limit` calls per `per` seconds, `burst` of them at once."""

    limit: int
    per: float
    burst: int


@dataclass(frozen=True, slots=True)
class SloOption:
    """The share of calls that must succeed, and the seconds that are fast enough (0: unsaid)."""

    objective: float
    latency: float


_KEYS = {
    options_pb2.IDEMPOTENCY_KEY_UNSPECIFIED: IdempotencyKey.NONE,
    options_pb2.IDEMPOTENCY_KEY_ACCEPTED: IdempotencyKey.ACCEPTED,
    options_pb2.IDEMPOTENCY_KEY_REQUIRED: IdempotencyKey.REQUIRED,
}


def option_of(method: MethodDescriptor) -> options_pb2.MethodOptions:
    """Return the `prodkit.v1.method` option of `method`, all defaults where it has none."""
    return method.GetOptions().Extensions[options_pb2.method]


def access_of(option: options_pb2.MethodOptions) -> Access:
    """Return who may call; ConfigurationError where nothing says so."""
    if not option.HasField("access"):
        raise ConfigurationError("it has no access option: say who may call it")
    return Access(
        public=option.access.public,
        authenticated=option.access.authenticated,
        permission=option.access.permission,
        services=tuple(option.access.services),
    )


def idempotency_of(method: MethodDescriptor, option: options_pb2.MethodOptions) -> IdempotencyKey:
    """Return whether a key is taken; ConfigurationError where the answer could not be kept."""
    taken = _KEYS[option.idempotency_key]
    if taken is IdempotencyKey.NONE:
        return taken
    if method.client_streaming or method.server_streaming:
        raise ConfigurationError("idempotency_key: a stream cannot be kept and replayed")
    secret = next(secret_fields(method.output_type), None)
    if secret is not None:
        raise ConfigurationError(
            f"idempotency_key: the answer holds a secret, {secret.full_name}, and would be kept"
        )
    return taken


def secret_fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    """Yield the fields with `debug_redact` in `message` and everything that it can contain."""
    seen = {message.full_name}
    waiting = [message]
    while waiting:
        for field in waiting.pop().fields:
            if field.GetOptions().debug_redact:
                yield field
            inner = field.message_type
            if inner is not None and inner.full_name not in seen:
                seen.add(inner.full_name)
                waiting.append(inner)


def status_of(option: options_pb2.MethodOptions) -> int:
    """Return the HTTP status of success."""
    status = option.success_status
    if status and not 200 <= status <= 299:
        raise ConfigurationError(f"success_status must be 200 to 299, not {status}")
    return status or 200


def statuses_of(option: options_pb2.MethodOptions) -> Mapping[str, int]:
    """Return the HTTP statuses of the method's own reasons."""
    for reason, status in option.reason_status.items():
        if not 400 <= status <= 499:
            raise ConfigurationError(f"reason_status: {reason} must be 400 to 499, not {status}")
    return MappingProxyType(dict(option.reason_status))


def deadline_of(option: options_pb2.MethodOptions) -> float | None:
    """Return the deadline in seconds, or None."""
    return _seconds(option.deadline, "deadline") if option.HasField("deadline") else None


def rate_of(option: options_pb2.MethodOptions) -> RateOption | None:
    """Return the rate, or None."""
    if not option.HasField("rate"):
        return None
    rate = option.rate
    if not rate.limit:
        raise ConfigurationError("rate.limit must be positive")
    return RateOption(rate.limit, _seconds(rate.per, "rate.per"), rate.burst or rate.limit)


def slo_of(option: options_pb2.MethodOptions) -> SloOption | None:
    """Return what is promised, or None."""
    if not option.HasField("slo"):
        return None
    slo = option.slo
    if not 0 < slo.objective < 1:
        raise ConfigurationError(f"slo.objective must lie between 0 and 1, not {slo.objective:g}")
    latency = _seconds(slo.latency, "slo.latency") if slo.HasField("latency") else 0.0
    return SloOption(slo.objective, latency)


def _seconds(duration: Duration, option: str) -> float:
    value = duration.seconds + duration.nanos / 1e9
    if value <= 0:
        raise ConfigurationError(f"{option} must be positive, not {value:g} s")
    return value
