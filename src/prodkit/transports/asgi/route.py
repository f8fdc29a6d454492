"""The route template of a request, read from its scope after routing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prodkit.call import Call


class RoutedCall(Call):
    """A call at the HTTP door, whose operation is its raw path until it is routed."""

    __slots__ = ()

    def locate(self) -> None:
        """Take the template of the route that would have answered, where the door can ask."""
        exchange = self.payload
        route = exchange.locate(exchange.scope) if exchange and exchange.locate else None
        if route is not None:
            template = route_of({**exchange.scope, "route": route})
            self.operation = f"{exchange.scope['method']} {template}"


def route_of(scope: Mapping[str, Any]) -> str | None:
    """Return the path template that answered, mounts and included routers counted in, or None.

    Starlette and FastAPI leave the route in the scope; the list of routes is never walked. A
    FastAPI route knows nothing of the routers that include it, but their context, left in the
    scope too, does. An app that is mounted and does not tell its route reads `/mount/{path}`.
    """
    route = scope.get("route")
    guest = scope.get("fastapi")
    if guest:
        route = _included(guest.get("effective_route_context"), route)
    template: str | None = getattr(route, "path_format", None)
    root = scope.get("root_path", "")
    base = scope.get("app_root_path", root)
    if root == base:
        return template or _untold(scope, base)
    if template is None or hasattr(route, "routes"):  # a Mount: its prefix is in root_path already
        template = "/{path}"
    mounted = _restored(root.removeprefix(base), scope.get("path_params", {}), template)
    return (mounted or "/{mount}") + template


def _included(context: Any, route: Any) -> Any:
    """Return what holds the whole path: the context of the inclusion, if `route` came by it."""
    if context is None:
        return route
    if context.original_route is route:
        return context.starlette_route or context
    return route if hasattr(route, "path_format") else context.starlette_route


def _untold(scope: Mapping[str, Any], base: str) -> str | None:
    """Return the template of a matched route that left no trace: FastAPI's plain ones."""
    if "endpoint" not in scope:
        return None
    return _restored(scope["path"].removeprefix(base), scope.get("path_params", {}))


def _restored(path: str, parameters: Mapping[str, Any], rest: str = "") -> str | None:
    """Return `path` with its parameters put back, except those of `rest`; None if one is missing.

    A template that named individuals would make a time series of each.
    """
    names = [(str(value), f"{{{name}}}") for name, value in parameters.items()]
    names = [pair for pair in names if pair[1] not in rest]
    segments = []
    for segment in path.split("/"):  # parameters come in the order of the path
        known = bool(names) and names[0][0] == segment
        segments.append(names.pop(0)[1] if known else segment)
    return None if names else "/".join(segments)
