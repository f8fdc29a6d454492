"""Processes that end without ending what they began."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at, calls, is_zero
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument
from prodkit.scaffold.readiness.rules.conditions import only_sometimes

_RULE = "no-drain"
_RUN = "serve it by HttpServer in a Service, and call Service.run()"
#: Servers that close their doors at once when they are told to go, and how one runs them.
_SERVERS = {
    "uvicorn.run": "uvicorn",
    "uvicorn.main.run": "uvicorn",
    "uvicorn.Server": "uvicorn",
    "hypercorn.asyncio.serve": "hypercorn",
    "hypercorn.run.run": "hypercorn",
    "granian.Granian": "granian",
}
#: Whoever touches these drains by hand.
_BY_HAND = frozenset({"should_exit", "handle_exit", "shutdown_trigger"})


def abrupt_ends(project: Project) -> Iterator[Finding]:
    """Find servers that do not drain, and drains that have no time."""
    for source in project.sources:
        yield from _servers(source)
        yield from _platforms(source)
        yield from _served(source)
    for document in project.documents:
        for entry in document.entries:
            if document.name == "production" and entry.key == "drain_timeout" and _no(entry.value):
                yield Finding(
                    document.path,
                    entry.line,
                    _RULE,
                    "drain_timeout is 0: what is under way is cut, and the service will not start",
                    "drain_timeout: 20",
                )


def _no(value: str) -> bool:
    try:
        return float(value) <= 0
    except ValueError:
        return False


def _servers(source: Resolver) -> Iterator[Finding]:
    if source.module.attributes & _BY_HAND:
        return
    for name, call in source.called:
        server = _SERVERS.get(name, "")
        by_hand = any(keyword.arg in _BY_HAND for keyword in call.keywords)
        if server and not by_hand and not only_sometimes(source, call):
            message = f"{server} closes its door as soon as it is told to go: requests fail"
            yield at(source.module, call, _RULE, message, _RUN)


def _platforms(source: Resolver) -> Iterator[Finding]:
    for name, call in calls(source, "Platform", "Lifecycle"):
        if is_zero(argument(call, "drain_timeout")):
            message = f"this {name} has no time to drain: what is under way is cut"
            yield at(source.module, call, _RULE, message, "drain_timeout=settings.drain_timeout")


def _served(source: Resolver) -> Iterator[Finding]:
    """Find `asyncio.run(platform.serve())`: SIGTERM then ends it as it ends any process."""
    if "add_signal_handler" in source.module.attributes:
        return
    for name, call in source.called:
        if name != "asyncio.run" or not call.args:
            continue
        served = call.args[0]
        if not isinstance(served, ast.Call) or not isinstance(served.func, ast.Attribute):
            continue
        if served.func.attr == "serve" and _is_platform(source, served.func.value):
            message = "serve() leaves signals alone: SIGTERM ends the process without a drain"
            yield at(source.module, call, _RULE, message, "call run() in place of it")


def _is_platform(source: Resolver, node: ast.expr) -> bool:
    found = source.resolve(Value(node))
    if found is None or not isinstance(found.node, ast.Call):
        return False
    made = found.node.func
    if isinstance(made, ast.Attribute) and made.attr == "platform":
        inner = source.resolve(Value(made.value, found.arguments))
        service = inner is not None and isinstance(inner.node, ast.Call)
        return service and inner is not None and _is(source, inner.node, "Service")
    return source.ours(made) == "Platform"


def _is(source: Resolver, node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and source.ours(node.func) == name
