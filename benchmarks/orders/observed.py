"""The `ecommerce` command, watched from within: SQLite's statements, and where its time goes.

    BENCH_WATCH=FOLDER python -m benchmarks.orders.observed serve

Writes a line for each statement to FOLDER/statements.jsonl, and each second one with the samples of
the main thread to FOLDER/samples.jsonl. It slows the shop: nobody takes times from it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

EVERY = 0.002  # seconds
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
    """Look at the main thread again and again."""
    main = threading.main_thread().ident
    output, seen, due = path.open("a", buffering=1), Counter[str](), time.time() + 1
    while True:
        time.sleep(EVERY)
        frame = sys._current_frames().get(main or 0)
        if frame is not None:
            seen[layer_of(frame)] += 1
        if time.time() >= due:
            output.write(json.dumps([time.time(), seen]) + "\n")
            seen.clear()
            due += 1


def layer_of(innermost: FrameType) -> str:
    """Return whose this moment is; the event loop's own, or nobody's: it waits."""
    frame: FrameType | None = innermost
    if innermost.f_code.co_name == "select" or innermost.f_code.co_filename.endswith("runners.py"):
        return "waiting"  # on uvloop nothing of Python's runs then
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
    threading.Thread(target=sample, args=(folder / "samples.jsonl",), daemon=True).start()
    from ecommerce.cli import main as ecommerce

    ecommerce()


if __name__ == "__main__":
    main()
