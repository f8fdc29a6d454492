"""Doors through which calls come in, and that no time limit ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.pipelines import Limit, limit_of, methods_limit
from prodkit.scaffold.readiness.project import Project, at, calls
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument, complete

_RULE = "inbound-limit"
_FIX = "put Deadline(SECONDS) into its Pipeline, behind Observe"
_APPS = ("starlette.applications.Starlette", "fastapi.FastAPI", "fastapi.applications.FastAPI")


def unlimited_doors(project: Project) -> Iterator[Finding]:
    """Find middleware, servers and consumers whose pipelines have no Deadline."""
    yield from _middleware(project)
    for source in project.sources:
        yield from _servers(source)
        yield from _consumers(source)
        if "PipelineMiddleware" not in project.mentioned:
            yield from _bare_apps(source)


def _middleware(project: Project) -> Iterator[Finding]:
    """Find doors around apps.

    One that is not served by itself may stand in another one, whose limit then holds for it; and
    the routes of an app may have limits, as the methods behind a Gateway have by their contract.
    """
    if _routes_are_limited(project):
        return
    doors = [(source, door, _limit(source, door)) for source, door in _doors(project)]
    may_be_within = any(limit is not Limit.NONE for _, _, limit in doors)
    for source, door, limit in doors:
        passes_on = "Gateway" in project.mentioned and _app(source, door) is None
        if limit is not Limit.NONE or passes_on:
            continue
        if not may_be_within or door in _served(source):
            message = "requests have no time limit: nothing ends one"
            yield at(source.module, door, _RULE, message, _FIX)


def _routes_are_limited(project: Project) -> bool:
    """Say whether the routes themselves may have limits: then the door needs none."""
    return any(
        not call.args or limit_of(source, Value(call.args[0])) is not Limit.NONE
        for source in project.sources
        for _, call in calls(source, "route_pipeline")
    )


def _doors(project: Project) -> Iterator[tuple[Resolver, ast.Call]]:
    """Yield the doors that no other one of the file is around.

    `app.add_middleware(PipelineMiddleware, ...)` and `Middleware(PipelineMiddleware)` are some too.
    """
    for source in project.sources:
        doors = [call for _, call in calls(source, "PipelineMiddleware")]
        within = {each for door in doors for each in _inside(source, door)}
        yield from ((source, door) for door in doors if door not in within)
        for call in source.module.calls:
            if call.args and source.ours(call.args[0]) == "PipelineMiddleware":
                yield source, call


def _limit(source: Resolver, door: ast.Call) -> Limit:
    pipeline = argument(door, "pipeline", 1 if source.ours(door.func) else None)
    return Limit.UNKNOWN if pipeline is None else limit_of(source, Value(pipeline))


def _served(source: Resolver) -> list[ast.expr]:
    """Return the apps of the servers in a file."""
    apps = [argument(call, "app", 0) for _, call in calls(source, "HttpServer")]
    found = [source.resolve(Value(app)) for app in apps if app is not None]
    return [value.node for value in found if value is not None]


def _inside(source: Resolver, door: ast.Call) -> Iterator[ast.AST]:
    """Yield what stands in a door, named or not: the outer one's limit holds for it."""
    for given in (*door.args, *(keyword.value for keyword in door.keywords)):
        for node in ast.walk(given):
            yield node
            if isinstance(node, ast.Name):
                found = source.resolve(Value(node))
                if found is not None:
                    yield from ast.walk(found.node)


def _servers(source: Resolver) -> Iterator[Finding]:
    for name, call in calls(source, "GrpcServer", "LocalServer"):
        if not call.args or any(keyword.arg is None for keyword in call.keywords):
            continue
        pipelines = argument(call, "pipelines")
        limit = Limit.NONE if pipelines is None else methods_limit(source, Value(pipelines))
        if limit is Limit.NONE:
            yield at(
                source.module,
                call,
                _RULE,
                f"the methods of this {name} have no time limit but the caller's, if there is one",
                "give it pipelines=ContractPipelines(...), or pipelines with a Deadline",
            )


def _consumers(source: Resolver) -> Iterator[Finding]:
    for _, call in calls(source, "Consumer"):
        if not complete(call):
            continue
        pipeline = argument(call, "pipeline")
        limit = Limit.NONE if pipeline is None else limit_of(source, Value(pipeline))
        if limit is Limit.NONE:
            yield at(
                source.module,
                call,
                _RULE,
                "handlers have no time limit: one that hangs keeps its place, and its message",
                _FIX,
            )


def _bare_apps(source: Resolver) -> Iterator[Finding]:
    """Find apps that are served as they are, where the project has no PipelineMiddleware."""
    if source.module.attributes & {"add_middleware", "middleware", "user_middleware"}:
        return
    for _, call in calls(source, "HttpServer"):
        app = _app(source, call)
        if app is not None and complete(app) and argument(app, "middleware") is None:
            yield at(
                source.module,
                call,
                _RULE,
                "requests have no time limit: the app is served without a door around it",
                "serve PipelineMiddleware(app, Pipeline(Observe(telemetry), Deadline(SECONDS)))",
            )


def _app(source: Resolver, call: ast.Call) -> ast.Call | None:
    """Return the call that makes the app of a server or a door, if it is a framework's."""
    given = argument(call, "app", 0)
    found = None if given is None else source.resolve(Value(given))
    made = None if found is None else found.node
    if isinstance(made, ast.Call) and source.name_of(made.func) in _APPS:
        return made
    return None
