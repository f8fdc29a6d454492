"""The whole HTTP stack beside bare Starlette: throughput as a ratio, and added function calls.

    python benchmarks/http_stack.py [--rounds 7] [--seconds 2] [--connections 32]

Three uvicorn servers (uvloop, httptools) in processes of their own: the bare app; the same app
behind prodkit's door with request id, trace, metrics, JSON access line, rate limit, deadline and
errors at 1 % sampled; and at 100 %. A client in this process keeps `connections` requests in
flight to one of them at a time, in alternating rounds; the ratio is taken within each round and
the median printed. Figures compare only within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, cast

import uvicorn
import uvloop
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from prodkit import Pipeline
from prodkit.policies.deadline import Deadline
from prodkit.policies.rate_limiter import Rate, RateLimiter, by_client
from prodkit.telemetry import LineSink, Observe, Telemetry
from prodkit.transports.asgi import PipelineMiddleware

BODY = b"an item"
PATH = "/items/42"
#: What is served: share of traces kept, or None for the bare app.
STACKS: dict[str, float | None] = {"bare": None, "1 %": 0.01, "100 %": 1.0}
BUDGETS = {"1 %": 0.60, "100 %": 0.45}
CALLS_BUDGET = 60


class Discard(SpanExporter):
    """An exporter that costs nothing: encoding spans is the collector protocol's expense."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def item(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(BODY)


def build(sample_ratio: float | None) -> Any:
    app = Starlette(routes=[Route("/items/{id}", item)])
    if sample_ratio is None:
        return app
    telemetry = Telemetry(
        "benchmark",
        sample_ratio=sample_ratio,
        span_processors=[BatchSpanProcessor(Discard())],
        log=LineSink(open(os.devnull, "wb")),  # noqa: SIM115 - open as long as the process
    )
    limiter = RateLimiter(Rate(1e9), key=by_client)
    return PipelineMiddleware(app, Pipeline(Observe(telemetry), limiter, Deadline(5.0)))


def serve(sample_ratio: float | None, ready: Connection) -> None:
    """Run one server until it is terminated; tell its port first."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    ready.send(listener.getsockname()[1])
    config = uvicorn.Config(
        build(sample_ratio), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


class Client(asyncio.Protocol):
    """Sends the next request as soon as the answer is there."""

    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\r\n".encode()

    def __init__(self) -> None:
        self.answers = 0
        self.received = b""
        self.failed = False
        self.stopping = False
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data  # head and body come in one piece or in two
        if not self.received.endswith(BODY):
            return
        self.failed = not self.received.startswith(b"HTTP/1.1 200")
        self.received = b""
        self.answers += 1
        if self.stopping or self.failed:
            self.transport.close()
        else:
            self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failed = self.failed or exc is not None
        self.closed.set_result(None)


async def load(port: int, connections: int, seconds: float) -> float:
    """Return the requests per second that the server at `port` answers."""
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(Client, "127.0.0.1", port) for _ in range(connections)]
    clients = [client for _, client in pairs]
    started = loop.time()
    before = sum(client.answers for client in clients)
    await asyncio.sleep(seconds)
    rate = (sum(client.answers for client in clients) - before) / (loop.time() - started)
    for client in clients:
        client.stopping = True
    _, open_yet = await asyncio.wait([client.closed for client in clients], timeout=10)
    if open_yet or any(client.failed for client in clients):
        raise RuntimeError("a request was not answered with 200")
    return rate


async def count_calls(app: Any) -> int:
    """Return the Python functions that one request enters, coroutines resumed included."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"user-agent", b"bench")],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Any) -> None:
        pass

    entered = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal entered
        entered += event == "call"

    for _ in range(3):  # what is bound at the first request is not paid again
        await app(dict(scope), receive, send)
    sys.setprofile(profile)
    await app(dict(scope), receive, send)
    sys.setprofile(None)
    return entered


async def added_calls(sample_ratio: float) -> int:
    return await count_calls(build(sample_ratio)) - await count_calls(build(None))


async def measure(ports: dict[str, int], options: argparse.Namespace) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for port in ports.values():  # warm up
        await load(port, options.connections, options.seconds / 4)
    for turn in range(options.rounds):
        names = list(ports) if turn % 2 == 0 else list(reversed(ports))
        for name in names:
            rates[name].append(await load(ports[name], options.connections, options.seconds))
    return rates


def report(rates: dict[str, list[float]], calls: int) -> None:
    print(f"{'bare Starlette on uvicorn':42}{statistics.median(rates['bare']):>9.0f} requests/s")
    for name, budget in BUDGETS.items():
        ratios = [mine / bare for mine, bare in zip(rates[name], rates["bare"], strict=True)]
        ratio, rate = statistics.median(ratios), statistics.median(rates[name])
        verdict = "met" if ratio >= budget else "NOT MET"
        print(
            f"{f'whole HTTP stack, {name} sampled':42}{rate:>9.0f} requests/s  "
            f"ratio {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})  "
            f"budget >= {budget:.2f}  {verdict}"
        )
    verdict = "met" if calls <= CALLS_BUDGET else "NOT MET"
    print(
        f"{'added Python function calls, unsampled':42}{calls:>9} a request   "
        f"budget <= {CALLS_BUDGET}  {verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    calls = uvloop.run(added_calls(0.0))
    context = multiprocessing.get_context("spawn")
    servers, ports = [], {}
    try:
        for name, sample_ratio in STACKS.items():
            mine, theirs = context.Pipe()
            server = context.Process(target=serve, args=(sample_ratio, theirs), daemon=True)
            server.start()
            servers.append(server)
            if not mine.poll(30):
                raise RuntimeError(f"the server {name!r} did not start")
            ports[name] = mine.recv()
        report(uvloop.run(measure(ports, options)), calls)
    finally:
        for server in servers:
            server.terminate()
            server.join(10)


if __name__ == "__main__":
    main()
