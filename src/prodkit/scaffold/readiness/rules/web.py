"""Debug modes, and cookies that pages of strangers may use."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.project import Project, at, is_true
from prodkit.scaffold.readiness.resolver import Resolver, Value, argument
from prodkit.scaffold.readiness.rules.conditions import only_sometimes

_SHOWN = "in debug mode whoever makes a request fail is shown the source"
#: Which option of what, and what is wrong with it.
_DEBUG = {
    "starlette.applications.Starlette": ("debug", _SHOWN),
    "fastapi.FastAPI": ("debug", _SHOWN),
    "fastapi.applications.FastAPI": ("debug", _SHOWN),
    "uvicorn.run": ("reload", "reload restarts the process when a file changes"),
    "uvicorn.Config": ("reload", "reload restarts the process when a file changes"),
    "asyncio.run": ("debug", "asyncio's debug mode makes every step of every task slower"),
    "sqlalchemy.create_engine": ("echo", "echo writes every statement and its values to the log"),
    "sqlalchemy.ext.asyncio.create_async_engine": (
        "echo",
        "echo writes every statement and its values to the log",
    ),
}
_NEITHER = ("", "")
_CORS = (
    "starlette.middleware.cors.CORSMiddleware",
    "fastapi.middleware.cors.CORSMiddleware",
)


def debug_modes(project: Project) -> Iterator[Finding]:
    """Find debug flags that are written down as on."""
    for source in project.sources:
        for call in source.module.calls:
            option, why = ("debug", _SHOWN) if _flask(source, call) else _NEITHER
            if option and is_true(argument(call, option)) and not only_sometimes(source, call):
                yield _debug(source, call, option, why)
        for name, call in source.called:
            option, why = _DEBUG.get(name, _NEITHER)
            if option and is_true(argument(call, option)) and not only_sometimes(source, call):
                yield _debug(source, call, option, why)
    for document in project.documents:
        for entry in document.entries:
            on = entry.kind == "bool" and entry.value.lower() in ("true", "yes", "on")
            if document.name == "production" and entry.key == "debug" and on:
                yield Finding(document.path, entry.line, "debug", _SHOWN, "debug: false")


def _debug(source: Resolver, call: ast.Call, option: str, why: str) -> Finding:
    fix = f"leave {option}=True out, or take it from the settings"
    return at(source.module, call, "debug", why, fix)


def _flask(source: Resolver, call: ast.Call) -> bool:
    """Say whether it is `app.run(...)` where `app` is Flask's."""
    if not isinstance(call.func, ast.Attribute) or call.func.attr != "run" or not call.keywords:
        return False
    app = source.resolve(Value(call.func.value))
    made = app.node.func if app is not None and isinstance(app.node, ast.Call) else None
    return made is not None and source.name_of(made) in ("flask.Flask", "quart.Quart")


def open_doors(project: Project) -> Iterator[Finding]:
    """Find CORS that lets any page call with the cookies of whoever looks at it."""
    for source in project.sources:
        for call in source.module.calls:
            if argument(call, "allow_credentials") is None:
                continue
            first = call.args[0] if call.args else call.func
            named = source.name_of(call.func) in _CORS or source.name_of(first) in _CORS
            if not named or not is_true(argument(call, "allow_credentials")):
                continue
            if _any_origin(source, call) and not only_sometimes(source, call):
                yield at(
                    source.module,
                    call,
                    "cors",
                    "any page may call, with the cookies of whoever looks at it",
                    "name the origins: allow_origins=settings.cors_origins",
                )


def _any_origin(source: Resolver, call: ast.Call) -> bool:
    origins, pattern = argument(call, "allow_origins"), argument(call, "allow_origin_regex")
    found = None if origins is None else source.resolve(Value(origins))
    listed = found.node.elts if found and isinstance(found.node, ast.List | ast.Tuple) else []
    everything = any(isinstance(each, ast.Constant) and each.value == "*" for each in listed)
    return everything or (isinstance(pattern, ast.Constant) and pattern.value in (".*", "^.*$"))
