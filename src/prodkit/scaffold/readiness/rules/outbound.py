"""Calls to others that nothing ends."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.pipelines import Limit, limit_of, methods_limit
from prodkit.scaffold.readiness.project import Project, at, calls, is_none
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument, complete

_RULE = "outbound-limit"
_FIX = "put Timeout(SECONDS) into its Pipeline, inside of a Retry, or Deadline outside of it"


@dataclass(frozen=True, slots=True)
class _Client:
    """A function that waits for ever unless `timeout` is given, at `position` maybe."""

    what: str
    position: int | None = None


_VERBS = ("get", "post", "put", "patch", "delete", "head", "options", "request")
#: What has no limit of its own.
_CLIENTS = {f"requests.{verb}": _Client("requests") for verb in _VERBS} | {
    "urllib.request.urlopen": _Client("urlopen", 2),
    "http.client.HTTPConnection": _Client("HTTPConnection", 2),
    "http.client.HTTPSConnection": _Client("HTTPSConnection", 2),
    "smtplib.SMTP": _Client("SMTP", 3),
    "smtplib.SMTP_SSL": _Client("SMTP_SSL", 3),
}
#: What has a limit, unless it is taken away.
_LIMITED = {
    f"{package}.{name}": package
    for package in ("httpx", "httpx2")
    for name in ("Client", "AsyncClient", "stream", *_VERBS)
}
_OWN_TRANSPORT = ("transport", "mounts", "app")


def unlimited_doors(project: Project) -> Iterator[Finding]:
    """Find channels and transports whose pipelines have neither Timeout nor Deadline."""
    limited = "Gateway" in project.mentioned or _stubs_are_limited(project)
    for source in project.sources:
        for _, call in calls(source, "PipelineTransport"):
            pipeline = argument(call, "pipeline", 0)
            if pipeline is None or _other_transport(source, argument(call, "inner", 1)):
                continue
            if limit_of(source, Value(pipeline)) is Limit.NONE:
                message = "requests have no time limit of their own: httpx2's is for each read"
                yield at(source.module, call, _RULE, message, _FIX)
        for _, call in calls(source, "open_channel"):
            pipelines = argument(call, "pipelines", 1)
            limit = Limit.NONE if pipelines is None else methods_limit(source, Value(pipelines))
            if complete(call) and limit is Limit.NONE and not limited:
                message = "calls have no time limit of their own: in a worker nothing ends one"
                fix = "give it pipelines=lambda method: PIPELINE, with a Timeout or a Deadline"
                yield at(source.module, call, _RULE, message, fix)


def _other_transport(source: Resolver, inner: ast.expr | None) -> bool:
    """Say whether what is inside may have limits of its own, or go to no network at all."""
    found = None if inner is None else source.resolve(Value(inner))
    if found is None or not isinstance(found.node, ast.Call):
        return inner is not None and not is_none(inner)
    return source.name_of(found.node.func) != "httpx2.AsyncHTTPTransport"


def _stubs_are_limited(project: Project) -> bool:
    """Say whether calls like `stub.GetOrder(request, timeout=1.0)` are made somewhere."""
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr[:1].isupper()
        and argument(call, "timeout") is not None
        and not source.name_of(call.func)
        for source in project.sources
        for call in source.module.calls
    )


def unlimited_clients(project: Project) -> Iterator[Finding]:
    """Find clients of other libraries without a limit."""
    if "setdefaulttimeout" in project.mentioned:
        return
    for source in project.sources:
        for name, call in source.called:
            message = _unlimited(name, call)
            if message:
                yield at(source.module, call, _RULE, message, "give it timeout=SECONDS")


def _unlimited(name: str, call: ast.Call) -> str:
    client = _CLIENTS.get(name)
    timeout = argument(call, "timeout")
    if client is not None and complete(call):
        given = argument(call, "timeout", client.position)
        if given is None or is_none(given):
            return f"{client.what} waits for ever: it has no time limit by itself"
    own = any(argument(call, each) is not None for each in _OWN_TRANSPORT)
    if name in _LIMITED and is_none(timeout) and not own:
        return f"timeout=None takes {_LIMITED[name]}'s time limit away"
    return ""
