"""What test_messaging_kills.py kills: forks workers that order, publish and handle.

A worker writes orders with events into one database; its relay publishes them to a broker file; its
consumer records them, once, in another database. All workers share the files.
"""

import asyncio
import os
import random
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
from prodkit.messaging.relay import OutboxRelay
from prodkit.transports.embedded import EmbeddedBroker

SUBJECTS = 4
LEASE = 0.4

ORDERS = Table(
    "orders",
    MetaData(),
    Column("version", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(10), nullable=False),
    Column("event", String(64), nullable=False),
)
HANDLED = Table(
    "handled",
    MetaData(),
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(10), nullable=False),
    Column("event", String(64), nullable=False),
    Column("version", Integer, nullable=False),
)


class Worker:
    def __init__(self, folder: Path):
        self.folder = folder
        self.orders = killing.database(folder, "orders")
        self.mail = killing.database(folder, "mail")
        self.broker = EmbeddedBroker(folder / "broker.sqlite", lease=LEASE, poll=0.02)
        outbox = Outbox("/orders", partitions=4)
        self.units = UnitOfWork(self.orders, outbox)
        mail_units = UnitOfWork(self.mail, Outbox("/mail"))
        handler = Inbox("mail").handler(mail_units, self.handle)
        self.consumer = Consumer(
            self.broker, "mail", {"order.*": handler}, ordered=True, max_deliveries=10_000
        )
        self.relay = OutboxRelay(self.orders, outbox, self.broker, batch=10, poll=0.02, lease=LEASE)

    async def start(self):
        for each in (self.orders, self.mail, self.broker):
            await each.start()
        await self.orders.create_all(ORDERS.metadata, outbox_tables.metadata)
        await self.mail.create_all(HANDLED.metadata, inbox_tables.metadata, outbox_tables.metadata)
        await self.consumer.start()
        await self.relay.start()

    async def handle(self, event, work):
        row = {"subject": event.subject, "event": event.id, "version": event.data["version"]}
        await work.execute(insert(HANDLED).values(row))

    async def order(self, *, fail=False):
        """Write an order and its event; return the event's id once it is committed."""
        subject = f"s{random.randrange(SUBJECTS)}"
        async with self.units() as work:
            row = await work.execute(insert(ORDERS).values(subject=subject, event=""))
            (version,) = row.inserted_primary_key
            event = Event("order.created", subject, {"version": version})
            change = ORDERS.update().where(ORDERS.c.version == version).values(event=event.id)
            await work.execute(change)
            work.record(event)
            if fail:
                raise KeyError
        return event.id


async def work_until_killed(folder: Path):
    worker = Worker(folder)
    await worker.start()
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def order():
        while True:
            try:
                id_ = await worker.order(fail=random.random() < 0.2)
            except KeyError:
                continue
            os.write(acknowledged, f"{id_}\n".encode())

    await asyncio.gather(*(order() for _ in range(int(os.environ.get("CUSTOMERS", "1")))))


async def quiesce(folder: Path):
    worker = Worker(folder)
    await worker.start()
    async with asyncio.timeout(float(os.environ.get("QUIESCE", "30"))):
        while True:
            async with worker.orders.read() as tx:
                unsent = select(func.count()).where(outbox_tables.outbox.c.sent_at.is_(None))
                waiting = (await tx.execute(unsent)).scalar_one()
            if not waiting and (await worker.broker.depths())["mail"][0] == 0:
                break
            await asyncio.sleep(0.02)
    await worker.consumer.stop(5)
    await worker.relay.stop(5)
    for each in (worker.broker, worker.mail, worker.orders):
        await each.stop()


if __name__ == "__main__":
    killing.main(work_until_killed, quiesce)
