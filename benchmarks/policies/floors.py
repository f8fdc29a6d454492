"""What each policy costs at the least: written by hand, for one caller, nothing to configure."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from benchmarks.policies.measure import Once, leaf


def breaker_count() -> Once:
    failures, opened_at = 0, 0.0

    async def call() -> Any:
        nonlocal failures, opened_at
        if failures >= 5 and monotonic() < opened_at + 60:
            raise RuntimeError("open")
        try:
            result = await leaf()
        except Exception:
            failures += 1
            opened_at = monotonic()
            raise
        failures = 0
        return result

    return call


def breaker_open() -> Once:
    opened_at = monotonic()

    async def call() -> Any:
        if monotonic() < opened_at + 3600:
            raise RuntimeError("open")
        return await leaf()

    return call


def breaker_rate() -> Once:
    bucket, succeeded, failed = 0.0, 0, 0

    async def call() -> Any:
        nonlocal bucket, succeeded, failed
        try:
            result = await leaf()
        except Exception:
            failed += 1
            raise
        now = monotonic() // 3
        if now != bucket:
            bucket, succeeded, failed = now, 0, 0
        succeeded += 1
        return result

    return call


def retry() -> Once:
    async def call() -> Any:
        for _ in range(2):
            try:
                return await leaf()
            except ConnectionError:
                await asyncio.sleep(0.1)
        return await leaf()

    return call


def limiter() -> Once:
    arrivals: dict[str, float] = {}

    async def call() -> Any:
        now = monotonic()
        arrival = max(arrivals.get("key", now), now) + 1e-9
        if arrival - now > 1.0:
            raise RuntimeError("too many")
        arrivals["key"] = arrival
        return await leaf()

    return call


def limiter_refuses() -> Once:
    arrivals = {"key": monotonic() + 3600}

    async def call() -> Any:
        now = monotonic()
        if max(arrivals.get("key", now), now) - now > 1.0:
            raise RuntimeError("too many")
        return await leaf()

    return call


def cache() -> Once:
    kept: OrderedDict[int, tuple[float, Any]] = OrderedDict()
    kept[1] = (monotonic() + 3600, "value")

    async def get(key: int) -> Any:
        entry = kept.get(key)
        if entry is not None and monotonic() < entry[0]:
            kept.move_to_end(key)
            return entry[1]
        return None

    return lambda: get(1)


def bulkhead() -> Once:
    running = 0

    async def call() -> Any:
        nonlocal running
        if running >= 10:
            raise RuntimeError("full")
        running += 1
        try:
            return await leaf()
        finally:
            running -= 1

    return call


def timeout() -> Once:
    async def call() -> Any:
        task = asyncio.current_task()
        assert task is not None
        handle = asyncio.get_running_loop().call_later(10, task.cancel)
        try:
            return await leaf()
        finally:
            handle.cancel()

    return call


def hedge() -> Once:
    async def call() -> Any:
        task = asyncio.ensure_future(leaf())
        done, _ = await asyncio.wait((task,), timeout=10)
        return task.result() if done else None

    return call


def fallback() -> Once:
    async def call() -> Any:
        try:
            return await leaf()
        except ConnectionError:
            return None

    return call


def loader(fetch: Callable[[list[int]], Awaitable[list[int]]]) -> Callable[[int], Awaitable[int]]:
    loop = asyncio.get_running_loop()
    waiting: dict[int, asyncio.Future[int]] = {}

    async def run(batch: dict[int, asyncio.Future[int]]) -> None:
        for future, value in zip(batch.values(), await fetch(list(batch)), strict=True):
            future.set_result(value)

    tasks: set[asyncio.Task[None]] = set()

    def dispatch() -> None:
        nonlocal waiting
        batch, waiting = waiting, {}
        task = loop.create_task(run(batch))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def load(key: int) -> asyncio.Future[int]:
        if key in waiting:
            return waiting[key]
        if not waiting:
            loop.call_soon(dispatch)
        future = waiting[key] = loop.create_future()
        return future

    return load


def nothing() -> Once:
    async def call() -> Any:
        return await leaf()

    return call
