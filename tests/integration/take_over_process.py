"""What test_take_over.py kills: holds a saga and an outbox's partitions, for minutes."""

import asyncio
import sys
from pathlib import Path

from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaRunner, Step
from prodkit.data.saga import store as saga_store
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.event import Event
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay

#: Seconds, of leases and steps: far more than the test takes.
LONG = 600.0


class Service:
    """A saga of two steps, the second of which `pay` does, and a relay to `broker`."""

    def __init__(self, path: Path, pay, broker):
        self.database = Database(path, wait=20.0)
        self.reserved = 0
        outbox = Outbox("/orders")
        self.units = UnitOfWork(self.database, outbox)
        self.saga = Saga(
            "order",
            Step("reserve", self.reserve, timeout=LONG),
            Step("pay", pay, timeout=LONG),
        )
        self.runner = SagaRunner(self.database, [self.saga], poll=0.1)
        self.relay = OutboxRelay(self.database, outbox, broker, poll=0.1, lease=LONG)

    async def reserve(self, run):
        self.reserved += 1

    async def start(self):
        await self.database.start()
        await self.database.create_all(saga_store.metadata, outbox_tables.metadata)
        await self.runner.start()
        await self.relay.start()

    async def stop(self):
        await self.relay.stop(1)
        await self.runner.stop(1)
        await self.database.stop()


class Silent:
    async def publish(self, messages, /, *, mandatory=True):
        await asyncio.Event().wait()


async def main(path: Path) -> None:
    async def pay(run):
        print("held", flush=True)  # noqa: T201 - the test waits for it
        await asyncio.Event().wait()

    service = Service(path, pay, Silent())
    await service.start()
    async with service.units() as work:
        work.record(Event("order.placed", "o1", {}, id="e1"))
        await service.runner.begin(work.tx, service.saga, "s1", {})
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
