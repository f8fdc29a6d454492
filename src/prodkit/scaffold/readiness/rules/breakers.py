"""A circuit breaker that stands before several dependencies: one takes the others away."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.pipelines import for_methods, members
from prodkit.scaffold.readiness.project import Project, at, calls
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument

_BREAKERS = ("CircuitBreaker", "SharedCircuitBreaker")
_CLIENTS = ("httpx.AsyncClient", "httpx2.AsyncClient")


def shared_breakers(project: Project) -> Iterator[Finding]:
    """Find one breaker object before two targets that are written out, and differ."""
    for source in project.sources:
        targets: dict[ast.AST, str] = {}
        for call, target, pipeline in _clients(source):
            for member in members(source, pipeline) or []:
                if member.name not in _BREAKERS:
                    continue
                if targets.setdefault(member.value.node, target) != target:
                    yield at(
                        source.module,
                        call,
                        "shared-breaker",
                        f"its circuit breaker is that of {targets[member.value.node]}, too:"
                        " when one is down, both are cut off",
                        "give each dependency a CircuitBreaker of its own",
                    )


def _clients(source: Resolver) -> Iterator[tuple[ast.Call, str, Value]]:
    """Yield clients whose target is written out, with the pipeline that they call through."""
    if not calls(source, *_BREAKERS):
        return
    for _, call in calls(source, "open_channel"):
        pipelines = argument(call, "pipelines", 1)
        target = _text(source, argument(call, "target", 0))
        pipeline = None if pipelines is None else for_methods(source, Value(pipelines))
        if target and pipeline is not None:
            yield call, target, pipeline
    for name, call in source.called:
        if name not in _CLIENTS:
            continue
        transport, target = argument(call, "transport"), _text(source, argument(call, "base_url"))
        made = None if transport is None else source.resolve(Value(transport))
        if target and made is not None and isinstance(made.node, ast.Call):
            pipeline_of = argument(made.node, "pipeline", 0)
            ours = source.ours(made.node.func) == "PipelineTransport"
            if ours and pipeline_of is not None:
                yield call, target, Value(pipeline_of, made.arguments)


def _text(source: Resolver, node: ast.expr | None) -> str:
    """Return a target as it is called: without its path."""
    found = None if node is None else source.resolve(Value(node))
    value = found.node.value if found and isinstance(found.node, ast.Constant) else ""
    if not isinstance(value, str):
        return ""
    scheme, separator, rest = value.rpartition("://")
    return f"{scheme}{separator}{rest.partition('/')[0]}" if scheme[:4] == "http" else value
