"""From a path to its endpoint: a dict for the paths that are fixed, a tree of segments for others.

Nothing is scanned: the cost of a look-up grows with the segments of the path, not with the routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from prodkit.contract.templates import ONE, REST, PathTemplate

Scope: TypeAlias = "MutableMapping[str, Any]"
Handler: TypeAlias = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What answers one verb at one template; doors read the template from `scope["route"]`.

    `body` is the field of the request that the body is, "" for none or all of them. `statuses` are
    the HTTP statuses of its own reasons.
    """

    verb: str
    template: PathTemplate
    handler: Handler
    body: str = ""
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The template as it was written, with few distinct values."""
        return self.template.text

    path_format = path

    def values(self, segments: Sequence[str]) -> dict[str, str]:
        """Return what the template's variables are in a path of `segments`."""
        return {
            variable.field: "/".join(segments[variable.start : variable.stop])
            for variable in self.template.variables
        }


@dataclass(slots=True)
class Endpoint:
    """Everything that answers at one path, by HTTP verb; GET answers HEAD too."""

    routes: dict[str, Route] = field(default_factory=dict)

    def route(self, verb: str) -> Route | None:
        """Return what answers `verb`."""
        return self.routes.get("GET" if verb == "HEAD" else verb)

    @property
    def allow(self) -> str:
        """The value of an Allow header."""
        verbs = {*self.routes, "OPTIONS"}
        return ", ".join(sorted(verbs | {"HEAD"} if "GET" in verbs else verbs))


@dataclass(slots=True)
class _Node:
    """The paths that share a beginning; an endpoint is found by its custom verb, "" for none."""

    literals: dict[str, _Node] = field(default_factory=dict)
    one: _Node | None = None
    here: dict[str, Endpoint] = field(default_factory=dict)
    rest: dict[str, Endpoint] = field(default_factory=dict)


class RouteTable:
    """All routes of a gateway. Literals win over variables, custom verbs over their absence."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._static: dict[str, Endpoint] = {}
        self._root = _Node()
        for route in routes:
            self._endpoint(route.template).routes[route.verb] = route

    def find(self, scope: Scope) -> tuple[Endpoint, Sequence[str]] | None:
        """Return the endpoint at the path of `scope`, and the path's segments, decoded."""
        endpoint = self._static.get(scope["path"])
        if endpoint is not None:
            return endpoint, ()
        try:
            segments = _segments(scope)
        except UnicodeDecodeError:
            return None
        return self._find(segments)

    def _find(self, segments: list[str]) -> tuple[Endpoint, Sequence[str]] | None:
        name, colon, verb = segments[-1].rpartition(":")
        if colon:
            trimmed = [*segments[:-1], name]
            endpoint = _walk(self._root, trimmed, 0, verb)
            if endpoint is not None:
                return endpoint, trimmed
        endpoint = _walk(self._root, segments, 0, "")
        return None if endpoint is None else (endpoint, segments)

    def _endpoint(self, template: PathTemplate) -> Endpoint:
        if template.static:
            return self._static.setdefault(template.shape, Endpoint())
        node = self._root
        for segment in template.segments:
            if segment == REST:
                return node.rest.setdefault(template.verb, Endpoint())
            if segment == ONE:
                node.one = node = node.one or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        return node.here.setdefault(template.verb, Endpoint())


def _walk(node: _Node, segments: Sequence[str], position: int, verb: str) -> Endpoint | None:
    if position == len(segments):
        return node.here.get(verb) or node.rest.get(verb)
    segment = segments[position]
    literal = node.literals.get(segment)
    found = _walk(literal, segments, position + 1, verb) if literal else None
    if found is None and node.one is not None and segment:
        found = _walk(node.one, segments, position + 1, verb)
    return found or node.rest.get(verb)


def _segments(scope: Scope) -> list[str]:
    """Split before decoding, so that an encoded slash stays within its segment."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%" not in raw:
        path: str = scope["path"]
        return path[1:].split("/")
    return [unquote(part, errors="strict") for part in raw.decode("ascii")[1:].split("/")]
