"""The `ecommerce` command, watched from within: SQLite's statements, and where its time goes.

    BENCH_WATCH=FOLDER python -m benchmarks.orders.observed serve

Writes a line for each statement to FOLDER/statements.jsonl, and each second one with the samples of
its processor time to FOLDER/samples.jsonl. It slows the shop: nobody takes times from it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

EVERY = 0.002  # seconds of processor time
ELSEWHERE = "SQLite's threads, and the event loop in C"
#: Whose the time is: the innermost frame that belongs to one of these says it.
LAYERS = {
    "/sqlalchemy/": "SQLAlchemy",
    "/aiosqlite/": "SQLite driver",
    "/asyncpg/": "PostgreSQL driver",
    "/aiormq/": "AMQP driver",
    "/aio_pika/": "AMQP driver",
    "/prodkit/transports/embedded/": "broker",
    "/prodkit/transports/amqp/": "broker",
    "/prodkit/data/": "database and sagas",
    "/prodkit/messaging/": "outbox, inbox, consumers",
    "/prodkit/telemetry/": "telemetry",
    "/prodkit/security/": "tokens",
    "/prodkit/policies/": "policies",
    "/prodkit/contract/": "contract: validation, JSON",
    "/prodkit/gateway/": "contract: validation, JSON",
    "/protovalidate/": "contract: validation, JSON",
    "/joserfc/": "tokens",
    "/cryptography/": "tokens",
    "/grpc/": "mesh",
    "/prodkit/transports/": "mesh",
    "/uvicorn/": "HTTP server and client",
    "/httptools/": "HTTP server and client",
    "/starlette/": "HTTP server and client",
    "/httpx2/": "HTTP server and client",
    "/httpcore": "HTTP server and client",
    "/ecommerce/": "the shop's own code",
    "/prodkit/": "prodkit, the rest",
}


def trace_statements(path: Path) -> None:
    """Have every connection to SQLite write down what it runs, values and all."""
    connect, numbers = sqlite3.connect, count(1)
    output, lock = path.open("a", buffering=1), threading.Lock()

    def traced(database: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(database, *args, **options)
        number, name = next(numbers), Path(str(database)).stem

        def ran(statement: str) -> None:
            line = json.dumps([time.time(), name, number, statement])
            with lock:
                output.write(line + "\n")

        connection.set_trace_callback(ran)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]


def sample(path: Path) -> None:
    """See what the main thread is at, again and again as the process uses its processor.

    A look at the clock's beat would come when Python lets another thread run: when it waits.
    """
    output, seen = path.open("a", buffering=1), Counter[str]()

    def look(_: int, frame: FrameType | None) -> None:
        if frame is not None:
            seen[layer_of(frame)] += 1

    def tell() -> None:
        while True:
            time.sleep(1.0)
            told = Counter(seen)
            seen.subtract(told)
            output.write(json.dumps([time.time(), +told]) + "\n")

    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    threading.Thread(target=tell, daemon=True).start()


def layer_of(innermost: FrameType) -> str:
    """Return whose this moment is; the event loop's own, or that of code that is not Python's."""
    frame: FrameType | None = innermost
    if innermost.f_code.co_name == "select" or innermost.f_code.co_filename.endswith("runners.py"):
        return ELSEWHERE  # on uvloop nothing of Python's runs in this thread then
    while frame is not None:
        name = frame.f_code.co_filename
        for part, layer in LAYERS.items():
            if part in name:
                return layer
        frame = frame.f_back
    return "event loop"


def main() -> None:
    folder = Path(os.environ["BENCH_WATCH"])
    folder.mkdir(parents=True, exist_ok=True)
    trace_statements(folder / "statements.jsonl")
    sample(folder / "samples.jsonl")
    from ecommerce.cli import main as ecommerce

    ecommerce()


if __name__ == "__main__":
    main()
