"""The floor: what databases were told for a checkout, told to them again with no framework.

Each checkout is a list of transactions; several may be under way at once, the statements of each
follow one another. Ids that a checkout made are new ones in each repetition. What was found by a
running number the first time (`outbox.seq`) is not found again: such a statement does less here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import asyncpg
from benchmarks.orders.recording import Unit

_ID = re.compile(r"[0-9a-f]{16,}")

Chain = Sequence[Unit]


class Script:
    """Checkouts that were recorded, to be repeated with ids of their own."""

    def __init__(self, chains: Sequence[Chain]) -> None:
        self._chains = chains
        seen = Counter(token for chain in chains for token in set(_tokens(chain)))
        # What every checkout names was there before: the product, the buyer.
        self._own = {token for token, times in seen.items() if times == 1}

    def chains(self, number: int) -> Iterator[tuple[Chain, dict[str, str]]]:
        """Return so many checkouts, each with the new names of its ids."""
        for chain in islice(cycle(self._chains), number):
            own = self._own.intersection(_tokens(chain))
            yield chain, {token: secrets.token_hex(len(token))[: len(token)] for token in own}


def _tokens(chain: Chain) -> Iterator[str]:
    for unit in chain:
        for each in unit.body:
            for text in (each.text, *each.values):
                yield from _ID.findall(text)


def _renamed(text: str, names: dict[str, str]) -> str:
    return _ID.sub(lambda found: names.get(found[0], found[0]), text)


def on_sqlite(folder: Path, script: Script, number: int) -> float:
    """Return checkouts a second: one connection for each file, as there is one writer in each."""
    connections: dict[str, sqlite3.Connection] = {}

    def connection(database: str) -> sqlite3.Connection:
        if database not in connections:
            made = sqlite3.connect(folder / f"{database}.db", isolation_level=None)
            made.execute("PRAGMA synchronous = FULL")
            made.execute("PRAGMA foreign_keys = ON")
            connections[database] = made
        return connections[database]

    prepared = [
        (connection(unit.database), [_renamed(each.text, names) for each in unit.statements])
        for chain, names in script.chains(number)
        for unit in chain
    ]
    began = time.perf_counter()
    for to, texts in prepared:
        for text in texts:
            to.execute(text).fetchall()
    took = time.perf_counter() - began
    for each in connections.values():
        each.close()
    return number / took


async def on_postgres(url: str, script: Script, number: int, workers: int) -> float:
    """Return checkouts a second: each worker has a connection to each database."""
    waiting = list(script.chains(number))
    hands = [Hand(url) for _ in range(workers)]
    for hand in hands:
        for chain, _ in script.chains(len(waiting[:10])):
            await hand.prepare(chain)
    began = time.perf_counter()

    async def work(hand: Hand) -> None:
        while waiting:
            await hand.do(*waiting.pop())

    await asyncio.gather(*map(work, hands))
    took = time.perf_counter() - began
    for hand in hands:
        await hand.close()
    return number / took


class Hand:
    """One that does checkouts, one after another, by statements that are prepared."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: dict[str, asyncpg.Connection] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._numbers = count(1)

    async def prepare(self, chain: Chain) -> None:
        for unit in chain:
            database = unit.database
            if database not in self._connections:
                url = self._url.replace("{service}", database)
                self._connections[database] = await asyncpg.connect(url)
            for each in unit.statements:
                if each.values and (database, each.text) not in self._names:
                    name = f"floor_{next(self._numbers)}"
                    await self._connections[database].execute(f"PREPARE {name} AS {each.text}")
                    self._names[database, each.text] = name

    async def do(self, chain: Chain, names: dict[str, str]) -> None:
        for unit in chain:
            connection: Any = self._connections[unit.database]
            for each in unit.statements:
                if each.values:
                    values = ", ".join(_renamed(value, names) for value in each.values)
                    name = self._names[unit.database, each.text]
                    await connection.execute(f"EXECUTE {name}({values})")
                else:
                    await connection.execute(each.text)

    async def close(self) -> None:
        for each in self._connections.values():
            await each.close()
