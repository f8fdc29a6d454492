"""The HTTP doors of the matrix, websockets included."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from doors.base import OK, Answer, Door, failed
from prodkit import Code, Pipeline, ServiceError
from prodkit.transports.asgi import PipelineMiddleware
from prodkit.transports.http import PipelineTransport
from prodkit.transports.problem import HTTP_STATUS


class HttpIn(Door):
    """An ASGI app behind PipelineMiddleware."""

    async def open(self, pipeline: Pipeline) -> None:
        async def answer(request: Any) -> PlainTextResponse:
            return PlainTextResponse(await self.work())

        routes = [Route("/work", answer, methods=["POST"])]
        app = PipelineMiddleware(Starlette(routes=routes), pipeline)
        transport = httpx2.ASGITransport(app=app)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://shop")

    async def ask(self, key: str | None = None) -> Answer:
        headers = {} if key is None else {"idempotency-key": f'"{key}"'}
        response = await self.client.post("/work", headers=headers)
        told = {**response.headers, "status": str(response.status_code)}
        if response.status_code == 200:
            return Answer(OK, Code.OK, response.text, told=told)
        said = response.json()
        return Answer(said["reason"], Code[said["code"]], "", said.get("retry_after"), told)

    def check(self, answer: Answer, code: Code, *, refused: bool) -> None:
        super().check(answer, code, refused=refused)
        assert int(answer.told["status"]) == HTTP_STATUS[code]
        if code in (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED):
            assert int(answer.told["retry-after"]) >= (answer.retry_after or 1)

    async def close(self) -> None:
        if hasattr(self, "client"):
            await self.client.aclose()


class WebsocketIn(HttpIn):
    """A websocket of an ASGI app: what is refused before it is accepted is an HTTP answer."""

    async def open(self, pipeline: Pipeline) -> None:
        async def serve(websocket: WebSocket) -> None:
            text = await self.work()
            await websocket.accept()
            await websocket.send_text(text)
            await websocket.close()

        routes = [WebSocketRoute("/work", serve)]
        self.app = PipelineMiddleware(Starlette(routes=routes), pipeline)

    async def ask(self, key: str | None = None) -> Answer:
        scope = {
            "type": "websocket",
            "path": "/work",
            "raw_path": b"/work",
            "query_string": b"",
            "headers": [(b"idempotency-key", (key or "").encode())],
            "client": ("192.0.2.1", 7),
            "extensions": {"websocket.http.response": {}},
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, body = sent[:2]
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        if start["type"] == "websocket.accept":
            return Answer(OK, Code.OK, body["text"], told=told)
        said = json.loads(body["body"])
        told["status"] = str(start["status"])
        return Answer(said["reason"], Code[said["code"]], "", said.get("retry_after"), told)


class HttpOut(Door):
    """An httpx2 client over PipelineTransport; what is behind answers 503 where it fails."""

    inbound = False

    @staticmethod
    def substitute(text: str) -> httpx2.Response:
        return httpx2.Response(200, text=text)

    async def open(self, pipeline: Pipeline) -> None:
        self.headers: list[httpx2.Headers] = []

        async def respond(request: httpx2.Request) -> httpx2.Response:
            self.headers.append(request.headers.copy())
            try:
                return httpx2.Response(200, text=await self.work())
            except ServiceError as error:
                return httpx2.Response(HTTP_STATUS[error.code], text=error.reason)

        transport = PipelineTransport(pipeline, httpx2.MockTransport(respond))
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://stock")

    async def ask(self, key: str | None = None) -> Answer:
        try:
            response = await self.client.get("/work")
        except ServiceError as error:
            return failed(error)
        if response.status_code == 200:
            return Answer(OK, Code.OK, response.text)
        return Answer(response.text, Code.UNAVAILABLE)

    async def close(self) -> None:
        if hasattr(self, "client"):
            await self.client.aclose()
