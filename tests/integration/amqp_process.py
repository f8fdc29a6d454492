"""What test_amqp_kills.py runs: forks workers that consume what RabbitMQ holds, five times each.

They kill themselves between a commit and its acknowledgement, which chance alone would rarely hit.
Where ORDERED, each subject's messages keep their order, and workers are killed from outside too.
"""

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

import killing
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select

from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging import inbox as inbox_tables
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.broker import Message

SUBJECTS, TIMES = 50, 5
EVENTS = int(os.environ["EVENTS"])
ORDERED = os.environ["ORDERED"] == "yes"

HANDLED = Table(
    "handled",
    MetaData(),
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("event", String(64), nullable=False),
    Column("subject", String(10), nullable=False),
    Column("version", Integer, nullable=False),
)


class Worker:
    def __init__(self, folder: Path, *, deadly: bool):
        self.deadly = deadly
        self.mail = killing.database(folder, "mail")
        self.broker = AmqpBroker(os.environ["AMQP_URL"], exchange=os.environ["EXCHANGE"])
        units = UnitOfWork(self.mail, Outbox("/mail"))
        self.inner = Inbox("mail").handler(units, self.change)
        self.consumer = Consumer(
            self.broker,
            "mail",
            {"order.*": self.handle},
            ordered=ORDERED,
            # One at a time where it dies: else others of its handlers would die before a commit.
            concurrency=8 if ORDERED else 1,
            max_attempts=1000,
            max_deliveries=10_000,
            retry_delay=0.01,
            retry_max=0.05,
        )
        self.mails = os.open(folder / "mails", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.busy_at = time.monotonic()

    async def start(self):
        await self.mail.start()
        await self.mail.create_all(HANDLED.metadata, inbox_tables.metadata, outbox_tables.metadata)
        await self.broker.start()
        await self.consumer.start()

    async def stop(self):
        await self.consumer.stop(5)
        await self.broker.stop()
        await self.mail.stop()

    async def change(self, event, work):
        row = {"event": event.id, "subject": event.subject, "version": event.data["version"]}
        await work.execute(insert(HANDLED).values(row))
        os.write(self.mails, f"{event.id}\n".encode())  # what no roll-back takes back

    async def handle(self, event):
        self.busy_at = time.monotonic()
        if random.random() < 0.02:
            raise KeyError("a handler that fails")
        await self.inner(event)
        if self.deadly and random.random() < 0.01:
            os.kill(os.getpid(), signal.SIGKILL)

    async def count(self):
        async with self.mail.read() as tx:
            return (await tx.execute(select(func.count()).select_from(HANDLED))).scalar_one()


async def publish(folder: Path):
    """Declare the queue, and put each event into it five times."""
    worker = Worker(folder, deadly=False)
    await worker.broker.start()
    await worker.broker.declare("mail", ["order.*"], ordered=ORDERED)
    for version in range(EVENTS // SUBJECTS):
        events = [
            Event("order.created", f"s{n}", {"version": version}, f"{version}-{n}", "/orders")
            for n in range(SUBJECTS)
        ]
        batch = [Message(each.id, each.type, each.to_json(), each.subject) for each in events]
        for _ in range(TIMES):
            await worker.broker.publish(batch)
    await worker.broker.stop()


async def work_until_killed(folder: Path):
    await Worker(folder, deadly=True).start()
    await asyncio.Event().wait()


async def quiesce(folder: Path):
    worker = Worker(folder, deadly=False)
    await worker.start()
    async with asyncio.timeout(240):
        # All are there, and for some seconds nothing was delivered again.
        while await worker.count() < EVENTS or time.monotonic() - worker.busy_at < 5:
            await asyncio.sleep(0.2)
    await worker.stop()


if __name__ == "__main__":
    asyncio.run(publish(Path(sys.argv[1])))
    (killing.main if ORDERED else killing.outlive)(work_until_killed, quiesce)
