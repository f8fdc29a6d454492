"""No connection is held across a remote call: every outbound door refuses it, and sends nothing."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from sqlalchemy import Column, Integer, MetaData, Table, insert

from prodkit import Code, Pipeline
from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import UnavailableError
from prodkit.holding import HeldConnectionError
from prodkit.messaging import outbox
from prodkit.messaging.event import Event
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.policies.circuit_breaker import CircuitBreaker
from prodkit.policies.retry import Retry
from prodkit.stores.redis import RedisConnection
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.broker import Message
from prodkit.transports.embedded import EmbeddedBroker

sys.path.insert(0, str(Path(__file__).parent))
from doors import DOORS, OK, Function, Work
from rpc_service import Doors, empty

pytestmark = pytest.mark.anyio

CALL = {"http out": "GET stock"}  # what the error calls it; any RPC by its full name
OUTBOUND = [name for name, door in DOORS.items() if not door.inbound and door is not Function]
METADATA = MetaData()
SALES = Table("sales", METADATA, Column("id", Integer, primary_key=True))


@pytest.fixture
async def database():
    database = Database(":memory:", name="orders database")
    await database.start()
    await database.create_all(METADATA, outbox.metadata)
    yield database
    await database.stop()


def refused(what: str) -> pytest.RaisesExc:
    return pytest.raises(HeldConnectionError, match=rf"^{what}: .* of orders database;")


@pytest.mark.parametrize("name", OUTBOUND)
async def test_no_client_calls_out_of_a_transaction(name, database):
    door = DOORS[name](Work())
    breaker = CircuitBreaker("work", consecutive_failures=1)
    repeats = [] if "stream" in name else [Retry(on=Code.UNKNOWN)]
    await door.open(Pipeline(*repeats, breaker))
    try:
        for transaction in (database.read, database.transaction):
            async with transaction():
                with refused(CALL.get(name, r"/prodkit\.test\.rpc\.Talk/.+")):
                    await door.ask()
        assert door.work.ran == 0
        assert (await door.ask()).outcome == OK  # and the breaker heard of nothing
    finally:
        await door.close()


@pytest.mark.parametrize("wire", ["grpc", "local"])
@pytest.mark.parametrize("method", ["say", "count", "join", "chat"])
async def test_no_kind_of_method_is_called_out_of_a_transaction(wire, method, database):
    doors = Doors(wire)
    stub = await doors.open(empty, empty)
    streams = method in ("join", "chat")
    try:
        async with database.transaction():
            with refused(f"/prodkit.test.rpc.Talk/{method.capitalize()}"):
                getattr(stub, method)(iter(()) if streams else StringValue(value="1"))
    finally:
        await doors.close()


@pytest.mark.parametrize("url", ["embedded", "amqp://guest@127.0.0.1:1/"])
async def test_no_message_leaves_from_within_a_transaction(url, database):
    broker = EmbeddedBroker(":memory:") if url == "embedded" else AmqpBroker(url)
    message = Message("1", "sold", b"{}")
    async with database.transaction():
        with refused("publish to broker"):
            await broker.publish([message])
    with pytest.raises(UnavailableError):  # nobody started it: now it is asked
        await broker.publish([message])


async def test_no_command_reaches_redis_from_within_a_transaction(database):
    redis = RedisConnection("redis://127.0.0.1:1")
    async with database.read():
        with refused("redis"):
            await redis.execute("PING")
    with pytest.raises(UnavailableError):
        await redis.execute("PING")


async def test_what_a_unit_of_work_recorded_is_published_after_it(database):
    store, broker = Outbox("/services/orders"), EmbeddedBroker(":memory:")
    await broker.start()
    await broker.declare("mails", ["sold"])
    relay = OutboxRelay(database, store, broker)
    await relay.start()
    units: UnitOfWork[Event] = UnitOfWork(database, store)

    async def sell(work) -> None:
        await work.execute(insert(SALES).values(id=1))
        work.record(Event("sold", "1", source="/services/orders"))

    try:
        async with asyncio.timeout(10):
            await units.run(sell)
            [delivery] = await broker.receive("mails", 1, wait=10)
        assert delivery.message.type == "sold"
    finally:
        await relay.stop(1)
        await broker.stop()
