"""What test_idempotency_kills.py runs: places orders under keys, and dies at one place of many.

An order is a row, a saga of three steps and the answer to its key, in one transaction. The steps
take effect in a ledger in another database, which takes each key once and counts who asked.
"""

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Collection
from pathlib import Path

import killing
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, update

from prodkit import Call, Kind, Pipeline, Principal
from prodkit.data.saga import Saga, SagaRunner, Step
from prodkit.data.saga import store as saga_store
from prodkit.errors import AbortedError, UnavailableError
from prodkit.policies.idempotency import Idempotency, current_claim
from prodkit.stores import sql

STEPS = ("reserve", "pay", "confirm")
PLACES = (
    "claimed",
    "uncommitted",
    "committed",
    *(f"{step} {when}" for step in STEPS for when in ("begun", "done")),
    "answered",
)
TOGETHER = 10

ORDERS = Table("orders", MetaData(), Column("id", String(64), primary_key=True))
LEDGER = Table(
    "ledger",
    MetaData(),
    Column("key", String(255), primary_key=True),
    Column("asked", Integer, nullable=False),
)


class Text:
    """The codec of a door whose answers are text."""

    def __init__(self, content):
        self._content = content

    async def content(self):
        return self._content.encode()

    def freeze(self, result):
        return result.encode()

    def thaw(self, data):
        return data.decode()


class Shop:
    """Takes orders under these keys; each has sagas of its own name, so that none of those that
    are about to die takes over what another left behind.
    """

    def __init__(self, folder: Path, keys: Collection[str] = (), deadly: str = ""):
        self.deadly = deadly
        self.orders = killing.database(folder, "orders")
        self.ledger = killing.database(folder, "ledger")
        store = sql.SqlIdempotencyStore(self.orders.writer)
        policy = Idempotency(store, secret=b"sixteen bytes or more", lease=0.5)
        self.send = Pipeline(policy).bind(self.place)
        steps = [Step(each, self.act, timeout=5.0) for each in STEPS]
        self.sagas = {key: Saga(key, *steps) for key in keys}
        self.runner = SagaRunner(self.orders, self.sagas.values(), poll=0.1, margin=1.0)

    async def start(self):
        await self.orders.start()
        await self.ledger.start()

    async def create(self):
        await self.orders.create_all(ORDERS.metadata, saga_store.metadata, sql.metadata)
        await self.ledger.create_all(LEDGER.metadata)

    async def stop(self):
        await self.runner.stop(5)
        await self.ledger.stop()
        await self.orders.stop()

    def here(self, place):
        if self.deadly == place:
            os.kill(os.getpid(), signal.SIGKILL)

    async def place(self, call):
        claim = current_claim()
        self.here("claimed")
        answer = f"order {claim.id} of {call.key}"
        async with self.orders.transaction() as tx:
            await tx.execute(insert(ORDERS).values(id=claim.id))
            await self.runner.begin(tx, self.sagas[call.key], claim.id, {"key": call.key})
            await claim.complete(tx.connection, answer)
            self.here("uncommitted")
        self.here("committed")
        await self.runner.drive(claim.id, within=10)
        self.here("answered")
        return answer

    async def act(self, run):
        self.here(f"{run.step} begun")
        key = f"{run.state['key']} {run.step}"
        async with self.ledger.transaction() as tx:
            if not await tx.insert_new(LEDGER, {"key": key, "asked": 1}):
                again = update(LEDGER).where(LEDGER.c.key == key)
                await tx.execute(again.values(asked=LEDGER.c.asked + 1))
        self.here(f"{run.step} done")

    async def ask(self, key):
        """Ask as a client does: again, while the key is in use."""
        while True:
            call = Call("place", Kind.SERVER, key=key, principal=Principal("a"), codec=Text(key))
            try:
                return await self.send(call)
            except (AbortedError, UnavailableError):
                await asyncio.sleep(0.05)


async def die(folder: Path, key: str, place: str) -> None:
    shop = Shop(folder, [key], place)
    await shop.start()
    await shop.runner.start()
    await shop.ask(key)


async def again(folder: Path, keys: list[str]) -> None:
    """Start anew; the clients ask again, twice, and hear the same."""
    shop = Shop(folder, keys)
    await shop.start()
    await shop.runner.start()
    async with asyncio.timeout(60):
        first = await asyncio.gather(*map(shop.ask, keys))
        second = await asyncio.gather(*map(shop.ask, keys))
        assert first == second
        for answer in first:
            record = await shop.runner.drive(answer.split()[1], within=30)
            assert record.status.ended, record
    await shop.stop()


def forked(work) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(work)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    work.close()
    return pid


async def create(folder: Path) -> None:
    shop = Shop(folder)
    await shop.start()
    await shop.create()
    await shop.stop()


def main(folder: Path, rounds: int) -> None:
    asyncio.run(create(folder))
    for start in range(0, rounds, TOGETHER):
        numbers = range(start, min(start + TOGETHER, rounds))
        places = {f"k{number}": PLACES[number % len(PLACES)] for number in numbers}
        for pid in [forked(die(folder, key, place)) for key, place in places.items()]:
            if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
                sys.exit(f"one of {places} ended by itself")
        if os.waitpid(forked(again(folder, list(places))), 0)[1] != 0:
            sys.exit(f"after {places}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
