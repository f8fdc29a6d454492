"""The review of a composition before any call: what cannot work, and what was hardly meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf, isinf

from prodkit.call import Kind
from prodkit.traits import (
    Trait,
    attempts_of,
    exceptions_of,
    limit_of,
    longest_wait_of,
    name_of,
    slow_after_of,
    traits_of,
)


class Severity(Enum):
    """How bad a finding is: doors refuse faults at start and log doubts."""

    FAULT = "fault"
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a review found: at which member, what is wrong, and what to do."""

    severity: Severity
    member: str
    message: str

    def __str__(self) -> str:
        return f"{self.member} {self.message}"


@dataclass(frozen=True, slots=True)
class Doorway:
    """What a door says of itself and of what it binds.

    `replays`: it has a codec. `substitutes`: what a middleware returns can stand for the handler's
    answer. `streams`: what is bound is declared a stream. `principal`: it authenticates by itself.
    `routed`: it knows the operation before the call begins; if not, that is a stranger's path.
    `early`: the handler's answer leaves before the pipeline ends.
    `hosts`: its calls name the host that they go to.
    `repeatable`: what it knows of the operation before any call, None where each call says so.
    `instead` says what stands for an exception type that never comes out of this door; "": it does.
    """

    name: str
    kind: Kind
    replays: bool = False
    substitutes: bool = False
    streams: bool = False
    principal: bool = False
    routed: bool = True
    early: bool = False
    hosts: bool = False
    repeatable: bool | None = None
    instead: Callable[[type[Exception]], str] | None = None


def review(members: Sequence[object], door: Doorway) -> list[Finding]:
    """Return what is wrong with `members`, outermost first, at `door`: faults, then doubts."""
    faults = [Finding(Severity.FAULT, name, why) for name, why in _faults(members, door)]
    doubts = [Finding(Severity.DOUBT, name, why) for name, why in _doubts(members)]
    return faults + doubts


_Found = Iterator[tuple[str, str]]


def _faults(members: Sequence[object], door: Doorway) -> _Found:
    known = door.principal
    seen: list[object] = []
    for member in members:
        traits, name = traits_of(member), name_of(member)
        if Trait.NEEDS_PRINCIPAL in traits and not known:
            yield (
                name,
                "is keyed by principal, so authentication must come before it; or give it a key or "
                "scope of its own",
            )
        known = known or Trait.GIVES_PRINCIPAL in traits
        if Trait.SUBSTITUTES in traits and any(Trait.REPLAYS in traits_of(each) for each in seen):
            yield name, "is inside of what keeps answers, which would keep a substitute for good"
        if any(member is other for other in seen):
            yield name, "is in this pipeline twice, so each call would count twice in it"
        seen.append(member)
        yield from ((name, why) for why in _misplaced(traits, door))
        yield from ((name, why) for why in _deaf(member, door))
    if sum(attempts_of(member) > 1 for member in members) > 1:
        yield "Retry", "is in this pipeline twice: the attempts multiply; keep the inner one"


def _misplaced(traits: Trait, door: Doorway) -> Iterator[str]:
    """Say why a member with these traits has no place at this door."""
    if Trait.REPEATS in traits:
        yield from _unrepeatable(door)
    if Trait.REPLAYS in traits:
        if door.streams:
            yield "cannot keep the answer of a stream"
        elif not door.replays:
            yield (
                "needs a door that can keep answers: PipelineMiddleware around the app, or a gRPC "
                "server"
            )
    if Trait.SUBSTITUTES in traits:
        if door.streams:
            yield "cannot answer in place of a stream"
        elif not door.substitutes:
            yield "cannot answer here in place of the handler; put it on what the handler calls"
    if Trait.NEEDS_OPERATION in traits and not door.routed:
        yield (
            "is keyed by operation, which nobody knows here before the app has routed: put it on "
            "the routes (@route_pipeline of prodkit.transports.asgi), or give it a key of its own"
        )
    if Trait.NEEDS_HOST in traits and not door.hosts:
        yield "is keyed by host, which this door does not know: key it by operation"
    if Trait.RETRACTS in traits and door.early:
        yield "cannot take back an answer that has left; put it on what the handler calls"
    if Trait.SHEDS in traits and door.kind in (Kind.CLIENT, Kind.PRODUCER):
        yield "sheds what comes in; for what goes out use a Bulkhead or an AdaptiveThrottle"


def _deaf(member: object, door: Doorway) -> Iterator[str]:
    """Say which exceptions `member` would wait for in vain."""
    for kind in exceptions_of(member):
        instead = "" if door.instead is None else door.instead(kind)
        if instead:
            yield f"answers to {kind.__name__}, which never comes out of this door: {instead}"


def _unrepeatable(door: Doorway) -> Iterator[str]:
    if door.kind in (Kind.SERVER, Kind.CONSUMER):
        yield "is for outbound calls only"
    elif door.streams:
        yield "cannot repeat a stream"
    elif door.repeatable is False:
        yield (
            "would repeat an operation that is not declared safe; declare it (safe=True) or give "
            "it an idempotency key"
        )


def _doubts(members: Sequence[object]) -> _Found:
    for position, member in enumerate(members):
        before, after = members[:position], members[position + 1 :]
        inner, outer = _union(after), _union(before)
        traits, name = traits_of(member), name_of(member)
        if Trait.OBSERVES in traits and any(traits_of(m) for m in before):
            yield name, "is not outermost: what the members before it refuse is not observed"
        if Trait.REPEATS in traits and Trait.LIMITS_ATTEMPT in outer:
            yield name, "repeats inside of a Timeout, which is for one attempt; use Deadline there"
        if Trait.CONCURRENT in traits and any(attempts_of(m) > 1 for m in after):
            yield name, "is outside of a Retry: each of its attempts is repeated; swap the two"
        if Trait.BREAKS in traits and Trait.REPEATS in inner:
            which = next(name_of(m) for m in after if Trait.REPEATS in traits_of(m))
            yield name, f"is outside of a {which}: all the attempts of a call count as one in it"
        yield from ((name, why) for why in _misordered(traits, before, after))
        if Trait.BREAKS in traits and Trait.LIMITS_CALL in outer and not inner & _LIMITS:
            yield name, "has no Timeout inside: what hangs until the Deadline never counts in it"
        if Trait.SUBSTITUTES in traits and outer & (Trait.REPEATS | Trait.BREAKS):
            yield name, "hides failures from a Retry or a breaker outside of it; put it outermost"
        unbounded = Trait.QUEUES in traits and isinf(longest_wait_of(member))
        if unbounded and Trait.LIMITS_CALL not in outer:
            yield name, "may let calls wait for ever: bound the wait, or put a Deadline outside"
        slow, longest = slow_after_of(member), min([worst_case(after), *map(limit_of, before)])
        if longest <= slow < inf:
            yield name, f"looks for calls of {slow:g} s or more, and all end after {longest:g} s"
        limit, needed = limit_of(member), worst_case(after)
        if Trait.LIMITS_CALL in traits and limit < needed < inf:
            yield name, f"leaves {limit:g} s to what takes {needed:g} s{_because(after)}"


def _misordered(traits: Trait, before: Sequence[object], after: Sequence[object]) -> Iterator[str]:
    """Say why a member with these traits has no place between those before and after it."""
    inner, outer = _union(after), _union(before)
    if Trait.LIMITS_CALL in traits and any(attempts_of(m) > 1 for m in before):
        yield "is inside of a Retry: once it is over nothing is repeated; use Timeout there"
    if Trait.HOLDS in traits and any(attempts_of(m) > 1 for m in after):
        yield "is outside of a Retry: who waits to be repeated holds a place; swap the two"
    if Trait.INJECTS in traits and inner & _ANSWERS_TO_FAULTS:
        yield "is outside of what should see its faults: put it innermost"
    if Trait.SHEDS in traits and outer & (Trait.QUEUES | Trait.LIMITS_ATTEMPT):
        yield "is inside of what lets calls wait or run out of time: put it before that"


_LIMITS = Trait.LIMITS_CALL | Trait.LIMITS_ATTEMPT
_ANSWERS_TO_FAULTS = _LIMITS | Trait.REPEATS | Trait.BREAKS | Trait.SUBSTITUTES


def _because(members: Sequence[object]) -> str:
    """Say what makes `members` take so long, and what comes of it."""
    attempts = any(attempts_of(member) > 1 for member in members)
    waits = any(longest_wait_of(member) for member in members)
    if attempts:
        also = " and waits" if waits else ""
        return f" with all its attempts{also}: the last ones never run"
    return f"{' with its waits' if waits else ''}: the limits inside are never reached"


def worst_case(members: Sequence[object]) -> float:
    """Return the seconds that `members` take at worst; inf where an attempt has no limit."""
    longest = inf
    for member in reversed(members):
        longest = min(limit_of(member), longest * attempts_of(member) + longest_wait_of(member))
    return longest


def _union(members: Sequence[object]) -> Trait:
    traits = Trait.NONE
    for member in members:
        traits |= traits_of(member)
    return traits
