"""Queues that grow until the memory ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.pipelines import Member, members
from prodkit.scaffold.readiness.project import Project, at, calls, is_none, is_zero
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument, complete

_RULE = "unbounded-queue"
_QUEUES = {
    f"{module}.{name}"
    for module in ("asyncio", "queue")
    for name in ("Queue", "LifoQueue", "PriorityQueue")
} | {"multiprocessing.Queue", "multiprocessing.JoinableQueue"}
#: Whoever asks for the length bounds it by hand, one may suppose.
_BY_HAND = frozenset({"qsize", "full"})
_TAKES = frozenset({"get", "get_nowait"})


def unbounded_queues(project: Project) -> Iterator[Finding]:
    """Find queues without `maxsize` that are kept, and worked off in a loop.

    One in a function ends with it, and a pool or a single answer is not worked off.
    """
    for source in project.sources:
        if source.module.attributes & _BY_HAND:
            continue
        for name, call in source.called:
            if name not in _QUEUES or not complete(call):
                continue
            size = argument(call, "maxsize", 0)
            if (size is None or is_zero(size)) and _worked_off(source, _kept(source, call)):
                yield at(
                    source.module,
                    call,
                    _RULE,
                    "the queue has no limit: it grows while its readers are slower",
                    "give it maxsize=NUMBER, and refuse what does not fit",
                )


def _kept(source: Resolver, call: ast.Call) -> str:
    """Return the name under which the queue outlives the function that makes it, or ""."""
    parent = source.module.parent(call)
    targets: list[ast.expr] = []
    if isinstance(parent, ast.Assign):
        targets = parent.targets
    elif isinstance(parent, ast.AnnAssign):
        targets = [parent.target]
    if len(targets) != 1:
        return ""
    if isinstance(targets[0], ast.Attribute):
        return targets[0].attr
    whole = isinstance(source.module.scopes(call)[0], ast.Module | ast.ClassDef)
    return _called(targets[0]) if whole else ""


def _worked_off(source: Resolver, name: str) -> bool:
    """Say whether somebody takes from the queue of that name in a loop."""
    return bool(name) and any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr in _TAKES
        and _called(call.func.value) == name
        and any(isinstance(each, ast.While) for each in source.module.parents(call))
        for call in source.module.calls
    )


def _called(node: ast.expr) -> str:
    """Return the last name of `name` or `something.name`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def unbounded_bulkheads(project: Project) -> Iterator[Finding]:
    """Find bulkheads at which any number of calls may wait for any time."""
    for source in project.sources:
        for _, call in calls(source, "Pipeline"):
            found = members(source, Value(call)) or []
            for place, member in enumerate(found):
                if _endless(member) and not _bounded(found[:place]):
                    yield at(
                        source.module,
                        call,
                        _RULE,
                        "any number of calls may wait for its Bulkhead, for any time",
                        "give the Bulkhead queue=NUMBER and max_wait=SECONDS",
                    )


def _bounded(before: list[Member]) -> bool:
    """Say whether what stands before a member may end the wait for it."""
    return any(member.name in ("", "Deadline", "Timeout") for member in before)


def _endless(member: Member) -> bool:
    call = member.value.node
    if member.name != "Bulkhead" or not isinstance(call, ast.Call) or not complete(call):
        return False
    wait = argument(call, "max_wait")
    return is_none(argument(call, "queue")) and (wait is None or is_none(wait))
