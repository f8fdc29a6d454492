"""Retries of other libraries that never give up; prodkit's own are bounded by what they are."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at, is_none
from prodkit.scaffold.readiness.resolver import Resolver, argument, complete

_TENACITY = ("tenacity.retry", "tenacity.Retrying", "tenacity.AsyncRetrying")
_STAMINA = ("stamina.retry", "stamina.retry_context")
_MESSAGE = "it is tried again for ever: a dependency that is down is asked by everybody"


def unbounded_retries(project: Project) -> Iterator[Finding]:
    """Find retries without a last attempt."""
    for source in project.sources:
        for name, call in source.called:
            fix = _fix(source, name, call)
            if fix:
                yield _found(source, call, fix)
        for node in source.module.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for each in node.decorator_list:
                    if source.name_of(each) == "tenacity.retry":
                        yield _found(source, each, "@retry(stop=stop_after_attempt(3), ...)")


def _found(source: Resolver, node: ast.AST, fix: str) -> Finding:
    return at(source.module, node, "unbounded-retry", _MESSAGE, fix)


def _fix(source: Resolver, name: str, call: ast.Call) -> str:
    """Return how to bound it, "" where it is bounded or one cannot know."""
    if not complete(call):
        return ""
    if name in _TENACITY:
        stop, condition = argument(call, "stop"), argument(call, "retry")
        polls = condition is not None and any("result" in each for each in _names(condition))
        endless = stop is None or source.name_of(stop) == "tenacity.stop_never"
        return "give it stop=stop_after_attempt(3)" if endless and not polls else ""
    if name == "backoff.on_exception":
        bounds = [argument(call, each) for each in ("max_tries", "max_time", "giveup")]
        return "give it max_tries=3" if all(b is None or is_none(b) for b in bounds) else ""
    if name in _STAMINA:
        bounds = [argument(call, each) for each in ("attempts", "timeout")]
        return "give it attempts=3" if all(is_none(bound) for bound in bounds) else ""
    return ""


def _names(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, ast.Attribute):
            yield each.attr
