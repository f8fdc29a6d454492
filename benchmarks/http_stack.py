"""The whole HTTP stack beside bare Starlette: throughput as a ratio, and added function calls.

    python benchmarks/http_stack.py [--rounds 11] [--seconds 1] [--connections 32]

Three uvicorn servers (uvloop, httptools) in processes of their own: the bare app; the same app
behind prodkit's door with request id, trace, metrics, JSON access line, rate limit, deadline and
errors at 1 % sampled; and at 100 %. A client in this process keeps `connections` requests in
flight to one of them at a time, in alternating rounds; the ratio is taken within each round and
the median printed. Figures compare only within one run. Beside the throughput stands the CPU time
that the server spent on a request, which a busy machine disturbs less.
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
from dataclasses import dataclass, field
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
    limiter = RateLimiter(Rate(10**9), key=by_client)
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


@dataclass
class Rounds:
    """One server and what was measured of it, round by round."""

    process: multiprocessing.process.BaseProcess
    port: int
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def round(self, options: argparse.Namespace) -> None:
        before = self.cpu_seconds()
        rate = await load(self.port, options.connections, options.seconds)
        self.rates.append(rate)
        self.costs.append(1e6 * (self.cpu_seconds() - before) / (rate * options.seconds))


def start(name: str, sample_ratio: float | None) -> Rounds:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=serve, args=(sample_ratio, theirs), daemon=True)
    process.start()
    if not mine.poll(30):
        raise RuntimeError(f"the server {name!r} did not start")
    return Rounds(process, mine.recv())


async def measure(servers: dict[str, Rounds], options: argparse.Namespace) -> None:
    for server in servers.values():  # warm up
        await load(server.port, options.connections, options.seconds / 4)
    for turn in range(options.rounds):
        order = list(servers.values())
        for server in order if turn % 2 == 0 else reversed(order):
            await server.round(options)


def ratios(over: list[float], under: list[float]) -> list[float]:
    return sorted(a / b for a, b in zip(over, under, strict=True))


def verdict(met: bool) -> str:
    return "met" if met else "NOT MET"


def report(servers: dict[str, Rounds], calls: int) -> None:
    bare = servers["bare"]
    print(f"{'':32}{'requests/s':>12}{'over bare':>11}{'range':>13}{'CPU us':>9}{'budget':>10}")
    for name, server in servers.items():
        rate, cost = statistics.median(server.rates), statistics.median(server.costs)
        title = (
            "bare Starlette on uvicorn" if name == "bare" else f"whole HTTP stack, {name} sampled"
        )
        line = f"{title:32}{rate:>12.0f}"
        if name != "bare":
            over = ratios(server.rates, bare.rates)
            line += f"{statistics.median(over):>11.2f}{f'{over[0]:.2f}-{over[-1]:.2f}':>13}"
            line += f"{cost:>9.0f}{f'>= {BUDGETS[name]:.2f}':>10}  "
            line += verdict(statistics.median(over) >= BUDGETS[name])
        else:
            line += f"{'':>24}{cost:>9.0f}"
        print(line)
    print(
        f"{'added Python calls a request':32}{calls:>12}{'':>33}{f'<= {CALLS_BUDGET}':>10}  "
        f"{verdict(calls <= CALLS_BUDGET)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    calls = uvloop.run(added_calls(0.0))
    servers: dict[str, Rounds] = {}
    try:
        for name, sample_ratio in STACKS.items():
            servers[name] = start(name, sample_ratio)
        uvloop.run(measure(servers, options))
        report(servers, calls)
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.join(10)


if __name__ == "__main__":
    main()
