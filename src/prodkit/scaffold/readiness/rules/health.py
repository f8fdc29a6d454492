"""Services of which nobody can tell whether they are ready."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at, calls
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument, complete

#: What a check can ask by `.ping`.
_ENGINES = ("AmqpBroker", "Database", "EmbeddedBroker", "RedisConnection")
#: Whoever has one of these may have made health known by it.
_TELLS = frozenset({"Admin", "GrpcServer", "Health", "Platform", "health", "routes"})


def unasked_resources(project: Project) -> Iterator[Finding]:
    """Find services with databases or brokers, and without checks."""
    if _checks_come_later(project):
        return
    for source in project.sources:
        for _, call in calls(source, "Service"):
            engine = _engine(source, argument(call, "resources"))
            if not engine or not complete(call) or not _unchecked(source, call):
                continue
            yield at(
                source.module,
                call,
                "health-checks",
                f"it is ready whether or not its {engine} answers: it has no checks",
                'give it checks=[Check("NAME", RESOURCE.ping)]',
            )


def unasked_services(project: Project) -> Iterator[Finding]:
    """Find services in a project in which nothing answers probes."""
    if project.mentioned & _TELLS:
        return
    for source in project.sources:
        for _, call in calls(source, "Service"):
            given = any(argument(call, name) is not None for name in ("health", "admin"))
            if complete(call) and not given:
                yield at(
                    source.module,
                    call,
                    "health-routes",
                    "no probe can ask whether it is ready: there is neither route nor admin port",
                    "give it admin=Admin(telemetry.registry, ...), or health.routes() to its app",
                )


def _engine(source: Resolver, resources: ast.expr | None) -> str:
    """Return the class of the first resource that can be asked, "" if none is known to be one."""
    listed = resources.elts if isinstance(resources, ast.List | ast.Tuple) else []
    for each in listed:
        if isinstance(each, ast.Name) and _asked(source, each.id):
            continue
        found = source.resolve(Value(each))
        if found is not None and isinstance(found.node, ast.Call):
            name = source.ours(found.node.func)
            if name in _ENGINES:
                return name
    return ""


def _asked(source: Resolver, name: str) -> bool:
    """Say whether `name.ping` is mentioned: in the checks of another service, say."""
    return "ping" in source.module.attributes and any(
        isinstance(node, ast.Attribute) and node.attr == "ping" and _called(node.value) == name
        for node in source.module.nodes
    )


def _called(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _checks_come_later(project: Project) -> bool:
    """Say whether something is done like `service.health.add(...)`."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "add"
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "health"
        for source in project.sources
        for node in source.module.nodes
    )


def _unchecked(source: Resolver, call: ast.Call) -> bool:
    """Say whether it surely has no checks."""
    checks, health = argument(call, "checks"), argument(call, "health")
    if checks is not None and not (isinstance(checks, ast.List | ast.Tuple) and not checks.elts):
        return False
    if "add" in source.module.attributes and calls(source, "Check"):
        return False  # they may come to its health later
    return health is None or _empty(source, health)


def _empty(source: Resolver, health: ast.expr) -> bool:
    """Say whether this is a Health without checks that nobody else gets hold of."""
    found = source.resolve(Value(health))
    if found is None or not isinstance(found.node, ast.Call):
        return False
    made = source.ours(found.node.func) == "Health" and not found.node.args
    if not made or argument(found.node, "checks") is not None:
        return False
    return not isinstance(health, ast.Name) or all(
        _harmless(source, node)
        for node in source.module.nodes
        if isinstance(node, ast.Name) and node.id == health.id and isinstance(node.ctx, ast.Load)
    )


def _harmless(source: Resolver, name: ast.Name) -> bool:
    """Say whether a use of a Health adds no check: `health.routes()`, or `health=health`."""
    parent = source.module.parent(name)
    if isinstance(parent, ast.Attribute):
        return parent.attr == "routes"
    return isinstance(parent, ast.keyword) and parent.arg == "health"
