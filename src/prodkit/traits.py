"""What a middleware declares of itself, so that a composition can be judged before any call."""

from __future__ import annotations

from enum import Flag, auto
from math import inf


class Trait(Flag):
    """What a door must know of a middleware before it binds it (attribute `traits`, optional)."""

    NONE = 0
    REPEATS = auto()  #: may call `proceed` more than once: outbound, and declared safe or keyed
    REPLAYS = auto()  #: keeps and replays whole results: needs a codec, refuses streams
    NEEDS_PRINCIPAL = auto()
    NEEDS_OPERATION = auto()  #: keyed by `call.operation`, which must not be a stranger's path
    GIVES_PRINCIPAL = auto()
    OBSERVES = auto()
    LIMITS_CALL = auto()  #: ends the whole call after `limit` seconds
    LIMITS_ATTEMPT = auto()  #: ends one attempt after `limit` seconds
    BREAKS = auto()  #: refuses calls by how earlier ones ended
    SUBSTITUTES = auto()  #: answers in place of a handler that failed
    QUEUES = auto()  #: lets calls wait for their turn, `longest_wait` seconds at most
    SHEDS = auto()  #: refuses by the load of this process: inbound
    RETRACTS = auto()  #: may fail a call that was answered
    NEEDS_HOST = auto()  #: keyed by the host that is called, which HTTP clients know
    HOLDS = auto()  #: gives calls places of which there are few, until they end
    INJECTS = auto()  #: fails or delays calls on purpose
    CONCURRENT = auto()  #: calls `proceed` again before it returned: the call must be forked


def traits_of(member: object) -> Trait:
    """Return what `member` declares of itself; undeclared is `Trait.NONE`."""
    declared = getattr(member, "traits", Trait.NONE)
    return declared if isinstance(declared, Trait) else Trait.NONE


def limit_of(member: object) -> float:
    """Return the seconds after which `member` ends what is inside of it (`limit`); none: inf."""
    if not traits_of(member) & (Trait.LIMITS_CALL | Trait.LIMITS_ATTEMPT):
        return inf
    return _number(member, "limit", inf)


def attempts_of(member: object) -> int:
    """Return how often `member` may let a call proceed, one after the other (`attempts`)."""
    traits = traits_of(member)
    if Trait.REPEATS not in traits or Trait.CONCURRENT in traits:
        return 1
    return int(_number(member, "attempts", 1))


def longest_wait_of(member: object) -> float:
    """Return the seconds that `member` itself may let a call wait in all (`longest_wait`)."""
    if not traits_of(member) & (Trait.REPEATS | Trait.QUEUES):
        return 0.0
    return _number(member, "longest_wait", 0.0)


def slow_after_of(member: object) -> float:
    """Return the seconds from which on `member` takes a call for slow (`slow_after`); none: inf."""
    if not traits_of(member) & (Trait.BREAKS | Trait.CONCURRENT):
        return inf
    return _number(member, "slow_after", inf)


def exceptions_of(member: object) -> tuple[type[Exception], ...]:
    """Return the exception types that `member` answers to by name (`exceptions`)."""
    named = getattr(member, "exceptions", ())
    if not isinstance(named, tuple):
        return ()
    return tuple(each for each in named if isinstance(each, type) and issubclass(each, Exception))


def _number(member: object, name: str, default: float) -> float:
    value = getattr(member, name, default)
    return value if isinstance(value, int | float) else default


def name_of(member: object) -> str:
    """Return the name by which messages call `member`: its class's, or a function's own."""
    name = getattr(member, "__name__", None)
    return name if isinstance(name, str) else type(member).__name__
