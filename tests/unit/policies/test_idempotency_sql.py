"""The policy over a SQL store: what a handler's own transaction makes of the claim."""

import asyncio

import pytest
from sqlalchemy import Column, MetaData, String, Table, insert, select

from prodkit import Call, Kind, Pipeline, Principal
from prodkit.data.database import Database
from prodkit.errors import AbortedError, UnavailableError
from prodkit.policies.idempotency import Idempotency, LostClaimError, current_claim
from prodkit.stores.sql import SqlIdempotencyStore, metadata
from prodkit.testing import ManualClock

pytestmark = pytest.mark.anyio
effects_metadata = MetaData()
effects = Table("effects", effects_metadata, Column("id", String, nullable=False))


class TextCodec:
    async def content(self):
        return b"ten euros"

    def freeze(self, result):
        return result.encode()

    def thaw(self, data):
        return data.decode()


class Shop:
    """Pays once a key: a handler whose transaction ends with `claim.complete`."""

    def __init__(self, database):
        self.database = database
        self.clock = ManualClock()
        self.written = asyncio.Event()
        self.commit = asyncio.Event()
        self.commit.set()
        self.running = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.trouble = None
        self.heard = []
        policy = Idempotency(
            SqlIdempotencyStore(database.writer), secret=b"k" * 32, lease=30.0, clock=self.clock
        )
        self.handle = Pipeline(policy).bind(self.pay)

    async def pay(self, call):
        self.running.set()
        await self.go_on.wait()
        claim = current_claim()
        async with self.database.transaction() as tx:
            await tx.execute(insert(effects).values(id=claim.id))
            await claim.complete(tx.connection, f"paid {claim.id}")
            self.written.set()
            await self.commit.wait()
            if self.trouble is not None:
                raise self.trouble
        return f"paid {claim.id}"

    async def send(self):
        call = Call("pay", Kind.SERVER, key="key", principal=Principal("ann"), codec=TextCodec())
        call.subscribe(lambda _, event: self.heard.append(event))
        return await self.handle(call)

    async def effects(self):
        async with self.database.read() as tx:
            return (await tx.execute(select(effects.c.id))).scalars().all()


@pytest.fixture
async def shop():
    database = Database(":memory:", wait=10.0)
    await database.start()
    await database.create_all(metadata, effects_metadata)
    yield Shop(database)
    await database.stop()


async def test_effect_and_answer_commit_together_and_are_replayed(shop):
    answer = await shop.send()
    assert await shop.send() == answer
    assert [f"paid {effect}" for effect in await shop.effects()] == [answer]


async def test_a_transaction_that_fails_leaves_neither_and_may_run_again(shop):
    shop.trouble = UnavailableError("the disk is full")
    with pytest.raises(UnavailableError, match="disk"):
        await shop.send()
    assert await shop.effects() == []
    shop.trouble = None
    await shop.send()
    assert len(await shop.effects()) == 1


async def test_whoever_lost_the_claim_rolls_back(shop):
    """The first process is stopped beyond its lease, heartbeats and all; another takes over."""
    shop.go_on.clear()
    stopped = asyncio.create_task(shop.send())
    await shop.running.wait()
    other = Shop(shop.database)
    other.clock.jump_wall(31.0)
    answer = await other.send()
    shop.go_on.set()
    with pytest.raises(LostClaimError):
        await stopped
    assert len(await shop.effects()) == 1
    assert await shop.send() == answer


async def test_a_beat_waits_for_the_writer_that_the_handler_holds(shop):
    shop.commit.clear()
    first = asyncio.create_task(shop.send())
    await shop.written.wait()
    await shop.clock.advance(10.0)  # the beat is under way, and the handler holds the writer
    shop.commit.set()
    answer = await first
    assert await shop.send() == answer
    assert len(await shop.effects()) == 1
    assert [type(event).__name__ for event in shop.heard] == ["AnswerReplayed"]


async def test_whoever_is_cancelled_before_the_commit_leaves_no_claim(shop):
    shop.commit.clear()
    first = asyncio.create_task(shop.send())
    await shop.written.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await shop.effects() == []
    shop.commit.set()
    await shop.send()
    assert len(await shop.effects()) == 1


async def test_a_hundred_at_once_pay_once(shop):
    answers = await asyncio.gather(*(shop.send() for _ in range(100)), return_exceptions=True)
    paid = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer.reason for answer in answers if isinstance(answer, AbortedError)]
    assert len(set(paid)) == 1
    assert len(paid) + refused.count("IDEMPOTENCY_KEY_IN_USE") == 100
    assert len(await shop.effects()) == 1
