"""What a pipeline is made of, as far as its file says."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum

from prodkit.scaffold.readiness.resolver import Resolver, Value, returned

#: The members that are prodkit's own, of which it is known what they do.
MEMBERS = frozenset(
    {
        "AdaptiveThrottle",
        "Authenticate",
        "Authorize",
        "Bulkhead",
        "Chaos",
        "CircuitBreaker",
        "Deadline",
        "Fallback",
        "Hedge",
        "Idempotency",
        "KeyedCircuitBreaker",
        "LoadShedder",
        "Observe",
        "RateLimiter",
        "Retry",
        "SharedCircuitBreaker",
        "Timeout",
        "Validate",
        "outside_transactions",
    }
)
_DEEPEST = 3
_LIMITS = ("Deadline", "Timeout")


class Limit(Enum):
    """Whether a pipeline ends what takes too long."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its class's name, "" if nobody knows, and the call that made it."""

    name: str
    value: Value


def members(resolver: Resolver, value: Value, depth: int = 0) -> list[Member] | None:
    """Return the members of the pipeline that `value` is; None where it cannot be known.

    Members that cannot be known are among them, without a name. `depth` counts the pipelines and
    tuples that are within each other: one may be in itself.
    """
    found = resolver.resolve(value)
    if found is None or not isinstance(found.node, ast.Call):
        return None
    if resolver.ours(found.node.func) != "Pipeline":
        return None
    several: list[Member] = []
    for node in found.node.args:
        several += _member(resolver, Value(node, found.arguments), depth)
    return several


def _member(resolver: Resolver, value: Value, depth: int) -> list[Member]:
    if isinstance(value.node, ast.Starred):
        if depth == _DEEPEST:
            return [Member("", value)]
        return _starred(resolver, Value(value.node.value, value.arguments), depth + 1)
    found = resolver.resolve(value)
    if found is None:
        return [Member("", value)]
    node = found.node.func if isinstance(found.node, ast.Call) else found.node
    name = resolver.ours(node)
    return [Member(name if name in MEMBERS else "", found)]


def _starred(resolver: Resolver, value: Value, depth: int) -> list[Member]:
    """Return what `*value` brings: of a tuple its elements, of `other.members` the other's."""
    if isinstance(value.node, ast.Attribute) and value.node.attr == "members":
        others = members(resolver, Value(value.node.value, value.arguments), depth)
        return [Member("", value)] if others is None else others
    found = resolver.resolve(value)
    if found is None or not isinstance(found.node, ast.Tuple):  # a list may have grown since
        return [Member("", value)]
    several: list[Member] = []
    for each in found.node.elts:
        several += _member(resolver, Value(each, found.arguments), depth)
    return several


def limit_of(resolver: Resolver, value: Value) -> Limit:
    """Say whether the pipeline that `value` is has a time limit."""
    found = members(resolver, value)
    if found is None:
        return Limit.UNKNOWN
    if any(member.name in _LIMITS for member in found):
        return Limit.SOME
    return Limit.NONE if all(member.name for member in found) else Limit.UNKNOWN


def for_methods(resolver: Resolver, value: Value) -> Value | None:
    """Return the one pipeline that a function of a method gives; None where it is not one."""
    found = resolver.resolve(value)
    if found is None:
        return None
    if isinstance(found.node, ast.Lambda):
        return Value(found.node.body, found.arguments)
    if isinstance(found.node, ast.Name):
        named = resolver.binding(found.node)
        if named is not None and isinstance(named[0], ast.FunctionDef):
            result = returned(named[0])
            return None if result is None else Value(result, found.arguments)
    return None


def methods_limit(resolver: Resolver, value: Value) -> Limit:
    """Say whether the pipelines of a door for RPCs have a time limit."""
    found = resolver.resolve(value)
    if found is None:
        return Limit.UNKNOWN
    if isinstance(found.node, ast.Call) and resolver.ours(found.node.func) == "ContractPipelines":
        return Limit.SOME
    if resolver.ours(found.node) == "no_policies":
        return Limit.NONE
    pipeline = for_methods(resolver, found)
    return Limit.UNKNOWN if pipeline is None else limit_of(resolver, pipeline)
