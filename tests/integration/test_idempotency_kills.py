"""A crash under an idempotency key (scenario 9): the retry goes on where the dead one stopped."""

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]
PROCESS = Path(__file__).with_name("idempotency_process.py")
STEPS = ("reserve", "pay", "confirm")
#: Where the nth process dies.
PLACES = [
    "claimed",
    "uncommitted",
    "committed",
    *(f"{step} {when}" for step in STEPS for when in ("begun", "done")),
    "answered",
]
ROUNDS = pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.slow)])


def crash(folder, rounds, **urls):
    began = time.monotonic()
    environment = {**os.environ, **{f"{name}_URL": url for name, url in urls.items()}}
    command = [sys.executable, str(PROCESS), str(folder), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def check(engine, took, rounds, orders, ledger):
    """Each order is there once, and each step ran once, but for the one that its process died in.

    That one ran again where it had taken effect: its key made that harmless.
    """
    asked = dict(ledger)
    expected = {
        f"k{number} {step}": 2 if PLACES[number % len(PLACES)] == f"{step} done" else 1
        for number in range(rounds)
        for step in STEPS
    }
    print(  # noqa: T201 - its figures
        f"\n9 crash under key, {engine}: {rounds} kills at {len(PLACES)} places in {took:.0f} s;"
        f" {orders} orders, {len(asked)} effects of {len(expected)}; steps asked for"
        f" {dict(Counter(asked.values()))}"
    )
    assert orders == rounds
    assert asked == expected


@ROUNDS
def test_09_on_sqlite(tmp_path, rounds):
    took = crash(tmp_path, rounds)
    with sqlite3.connect(tmp_path / "orders.sqlite") as orders:
        (count,) = orders.execute("SELECT count(*) FROM orders").fetchone()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        asked = ledger.execute("SELECT key, asked FROM ledger").fetchall()
    check("SQLite", took, rounds, count, asked)


@pytest.mark.xdist_group("postgres")
@ROUNDS
async def test_09_on_postgresql(tmp_path, postgres_url, postgres_url_2, rounds):
    took = crash(tmp_path, rounds, ORDERS=postgres_url, LEDGER=postgres_url_2)
    orders = await asyncpg.connect(postgres_url, timeout=10)
    count = await orders.fetchval("SELECT count(*) FROM orders")
    await orders.close()
    ledger = await asyncpg.connect(postgres_url_2, timeout=10)
    asked = [tuple(row) for row in await ledger.fetch("SELECT key, asked FROM ledger")]
    await ledger.close()
    check("PostgreSQL", took, rounds, count, asked)
