"""Scenario 20: twice as much as the shop can do, from 10,000 connections, for a minute."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from crowd import Crowd, Phase
from full import FullShop
from harness import CARD

CONNECTIONS = 10_000
#: Connections to PostgreSQL, of all processes together, and what each of six may have: two for
#: transactions, one to hear of events.
CAP, POOL = 20, 2
OVERLOAD = 2.0
#: How many seconds the flood lasts; BLACK_FRIDAY=20 has it shorter.
FLOOD = float(os.environ.get("BLACK_FRIDAY", "60"))
#: The scenario's figures, and the slack that noisy machines get.
REJECTION, GOODPUT, BACK, SLACK = 0.05, 0.9, 10.0, 5.0
#: Of a hundred who come to the shop so many buy.
BUYERS = 20


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullShop]:
    shop = FullShop(
        tmp_path,
        database_pool=POOL,
        concurrency_floor=4,  # so that eight at once are answered in time by a busy machine too
        requests_per_second=1_000_000,
        reservation_lifetime=60,
    )
    try:
        yield shop.start()
    finally:
        shop.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_black_friday(full: FullShop) -> None:
    connections = _Connections(full)
    requests = _requests(full)
    with connections:
        peak, usual, flood, after = asyncio.run(_day(full.port, requests))
    back = _seconds_until_usual(after, usual)
    refused = [answer for answer in flood.answers if answer.status == 503]
    _print(peak, usual, flood, after, back, connections.most)

    assert set(flood.statuses) <= {200, 201, 503}
    assert all(b"retry-after" in answer.headers for answer in refused)
    assert refused, "twice as much as it can do, and nobody was refused"
    assert flood.took(0.99, 503) <= REJECTION * SLACK
    assert 0 < connections.most <= CAP
    assert flood.goodput >= GOODPUT / SLACK * peak.goodput
    assert back <= BACK * SLACK
    code, table = full.audit(limit=120, patience=60)
    print(table)
    assert code == 0


async def _day(port: int, requests: Iterator[bytes]) -> tuple[Phase, Phase, Phase, Phase]:
    """Return: as much as it can do; half of what it serves whole; twice the most; half again."""
    crowd = Crowd(port, CONNECTIONS, requests)
    await crowd.connect()
    try:
        await crowd.as_fast_as_possible(8, 5.0)  # warm
        peak = max(
            [await crowd.as_fast_as_possible(callers, 10.0) for callers in (8, 16, 32)],
            key=lambda phase: phase.goodput,
        )
        half = _served_whole(peak) / 2
        usual = await crowd.at_rate(half, 15.0)
        flood = await crowd.at_rate(peak.goodput * OVERLOAD, FLOOD)
        after = await crowd.at_rate(half, BACK * SLACK + 5.0)
    finally:
        print(f"\n{CONNECTIONS} connections, {crowd.reconnected} made anew")
        crowd.close()
    return peak, usual, flood, after


def _served_whole(peak: Phase) -> float:
    """Return how many a second are served if nobody is refused.

    At its peak the shop refuses buyers who are too many for it, and has time for more who look.
    """
    return min(peak.goodput, peak.rate(201) * 100 / BUYERS)


def _requests(full: FullShop) -> Iterator[bytes]:
    """Return without end: some look at the goods, some buy one."""
    products = [full.product(inventory=1_000_000) for _ in range(20)]
    customers = [full.customer() for _ in range(20)]
    looks = [_request("GET", f"/api/v1/products/{product}") for product in products]
    looks.append(_request("GET", "/api/v1/products?page_size=10"))
    chosen = random.Random(20)
    means = {"payment_method": "credit_card", "payment_details": CARD}
    buys = [
        _request("POST", "/api/v1/checkout", full.order_body(product) | means, customer)
        for product, customer in itertools.product(products, customers)
    ]
    while True:
        yield chosen.choice(buys if chosen.randrange(100) < BUYERS else looks)


def _request(
    method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    named = {"Host": "localhost", "Content-Length": str(len(content)), **(headers or {})}
    if body is not None:
        named["Content-Type"] = "application/json"
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


class _Connections:
    """Counts the shop's connections to PostgreSQL, several times a second."""

    def __init__(self, full: FullShop) -> None:
        self.most = 0
        self._dsn = full.env["SHOP_DATABASE_URL"].replace("shop_{service}", "postgres")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._count()))

    def __enter__(self) -> _Connections:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    async def _count(self) -> None:
        connection = await asyncpg.connect(self._dsn)
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'shop%'"
        try:
            while not self._ended.is_set():
                self.most = max(self.most, await connection.fetchval(asked))
                await asyncio.sleep(0.2)
        finally:
            await connection.close()


def _seconds_until_usual(after: Phase, usual: Phase) -> float:
    """Return after how many seconds no second had a p99 beyond twice the usual one."""
    allowed = max(2 * usual.took(0.99), 0.1)
    began = min(answer.at - answer.took for answer in after.answers)
    seconds: dict[int, Phase] = {}
    for answer in after.answers:
        due = int(answer.at - answer.took - began)
        seconds.setdefault(due, Phase(1.0)).answers.append(answer)
    late = [second for second, phase in seconds.items() if phase.took(0.99) > allowed]
    return max(late, default=-1) + 1.0


def _print(
    peak: Phase, usual: Phase, flood: Phase, after: Phase, back: float, connections: int
) -> None:
    named = {"peak": peak, "half": usual, f"twice, {FLOOD:g} s": flood, "half again": after}
    for name, phase in named.items():
        print(
            f"{name:<12} asked {phase.asked / phase.seconds:6.1f}/s, done {phase.goodput:6.1f}/s,"
            f" p50 {1000 * phase.took(0.5, 200, 201):.0f} ms, p99"
            f" {1000 * phase.took(0.99, 200, 201):.0f} ms, {phase.statuses}"
        )
    share = flood.goodput / peak.goodput if peak.goodput else math.nan
    print(
        f"goodput {share:.0%} of peak; refusals p50 {1000 * flood.took(0.5, 503):.1f} ms, p99"
        f" {1000 * flood.took(0.99, 503):.1f} ms; p99 back after {back:g} s;"
        f" {connections} connections to PostgreSQL at most (cap {CAP})"
    )
