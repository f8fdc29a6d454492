"""What test_saga_kills.py kills: forks workers that begin checkouts and run them.

The outside world is a ledger in a database of its own, which takes each idempotency key once.
"""

import asyncio
import random
from pathlib import Path

import killing
from sqlalchemy import Column, Integer, MetaData, String, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from prodkit.data.saga import Saga, SagaRunner, Step
from prodkit.data.saga import store as saga_store
from prodkit.errors import FailedPreconditionError, UnavailableError
from prodkit.messaging.event import new_id

LEDGER = Table(
    "ledger",
    MetaData(),
    Column("key", String(255), primary_key=True),
    Column("saga", String(64), nullable=False),
    Column("step", String(20), nullable=False),
    Column("captures", Integer, nullable=False),
)


class Worker:
    def __init__(self, folder: Path):
        self.orders = killing.database(folder, "orders")
        self.ledger = killing.database(folder, "ledger")
        options = {"timeout": 0.3, "wait_initial": 0.01, "wait_max": 0.05, "attempts": None}
        self.saga = Saga(
            "checkout",
            Step("reserve", self.act, self.undo, **options),
            Step("pay", self.pay, self.undo, **options),
            Step("confirm", self.act, **options),
        )
        self.runner = SagaRunner(self.orders, [self.saga], poll=0.02, margin=0.2)

    async def start(self):
        await self.orders.start()
        await self.ledger.start()
        await self.orders.create_all(saga_store.metadata)
        await self.ledger.create_all(LEDGER.metadata)
        await self.runner.start()

    async def act(self, run):
        self.fail_at_times()
        try:
            async with self.ledger.transaction() as tx:
                row = {"key": run.key, "saga": run.saga_id, "step": run.step, "captures": 1}
                await tx.execute(insert(LEDGER).values(row))
        except IntegrityError:
            pass  # known key: the same answer as the first time
        self.fail_at_times()

    async def pay(self, run):
        if run.state["declined"]:
            raise FailedPreconditionError("declined")
        await self.act(run)

    async def undo(self, run):
        self.fail_at_times()
        async with self.ledger.transaction() as tx:
            await tx.execute(delete(LEDGER).where(LEDGER.c.key == run.action_key))

    def fail_at_times(self):
        if random.random() < 0.1:
            raise UnavailableError("the reply was lost")

    async def checkout(self):
        id_ = new_id()
        async with self.orders.transaction() as tx:
            state = {"declined": random.random() < 0.3}
            await self.runner.begin(tx, self.saga, id_, state)
        await self.runner.drive(id_, within=0.5)


async def work_until_killed(folder: Path):
    worker = Worker(folder)
    await worker.start()
    while True:
        await asyncio.gather(*(worker.checkout() for _ in range(4)))


async def quiesce(folder: Path):
    worker = Worker(folder)
    await worker.start()
    active = select(saga_store.sagas.c.id).where(
        saga_store.sagas.c.status.in_(["running", "compensating"])
    )
    async with asyncio.timeout(30):
        while True:
            async with worker.orders.read() as tx:
                if (await tx.execute(active.limit(1))).first() is None:
                    break
            await asyncio.sleep(0.05)
    await worker.runner.stop(5)
    await worker.ledger.stop()
    await worker.orders.stop()


if __name__ == "__main__":
    killing.main(work_until_killed, quiesce)
