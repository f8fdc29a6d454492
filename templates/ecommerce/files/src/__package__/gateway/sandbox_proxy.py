"""The sandbox under the shop's address, in the demo."""

from __future__ import annotations

import httpx2
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_KEPT = ("content-type", "location", "cache-control")


class SandboxProxy:
    """Passes `/sandbox...` on to the sandbox's own pages; nothing of the caller's but the body."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    def routes(self) -> list[Route]:
        """Return the routes for a Starlette app."""
        methods = ["GET", "POST", "PUT"]
        return [
            Route("/sandbox", self._pass_on, methods=methods),
            Route("/sandbox/{rest:path}", self._pass_on, methods=methods),
        ]

    async def _pass_on(self, request: Request) -> Response:
        path: str = request.scope["path"]
        if not path.isprintable() or ".." in path.split("/"):
            return Response("there is no such page", 404, media_type="text/plain")
        headers = {b"content-type": request.headers.get("content-type", "").encode("latin-1")}
        try:
            answer = await self._client.request(
                request.method, path, content=await request.body(), headers=headers
            )
        except httpx2.HTTPError:
            return Response("the sandbox does not answer", 502, media_type="text/plain")
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return Response(answer.content, answer.status_code, headers=kept)
