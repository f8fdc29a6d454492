"""The storefront's files, read once at start and served from memory."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def storefront_routes() -> list[Route]:
    """Return a route for each file, and `/` for the page."""
    routes = [_route(f"/static/{path.name}", path) for path in sorted(STATIC.iterdir())]
    return [_route("/", STATIC / "index.html"), *routes]


def _route(url: str, path: Path) -> Route:
    content, media_type = path.read_bytes(), TYPES[path.suffix]

    async def serve(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return Route(url, serve)
