import asyncio
import sqlite3
import threading

import pytest

from prodkit.errors import UnavailableError
from prodkit.testing import ManualClock
from prodkit.transports.broker import Message, UnroutableError
from prodkit.transports.embedded import EmbeddedBroker

pytestmark = pytest.mark.anyio


def message(number=1, type_="order.created", key="", **headers):
    return Message(f"id-{number}", type_, b'{"n":%d}' % number, key, headers)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
async def broker(tmp_path, clock):
    broker = EmbeddedBroker(tmp_path / "broker.sqlite", lease=10, clock=clock)
    await broker.start()
    await broker.declare("mail", ["order.*", "user.registered"])
    yield broker
    await broker.stop()


async def ids(broker, queue="mail", limit=10):
    return [each.message.id for each in await broker.receive(queue, limit)]


async def test_a_message_reaches_every_queue_that_subscribed(broker):
    await broker.declare("audit", ["*"])
    await broker.declare("other", ["order.create", "orders.*"])
    await broker.publish([message(1, traceparent="00-1-2-01"), message(2, "user.registered")])
    mail = await broker.receive("mail", 10)
    assert [each.message.id for each in mail] == ["id-1", "id-2"]
    assert mail[0].message == message(1, traceparent="00-1-2-01")
    assert await ids(broker, "audit") == ["id-1", "id-2"]
    assert await ids(broker, "other") == []


async def test_an_unroutable_message_is_an_error_and_stores_nothing(broker):
    with pytest.raises(UnroutableError, match=r"product\.created"):
        await broker.publish([message(1), message(2, "product.created")])
    assert await ids(broker) == []
    await broker.publish([message(1), message(2, "product.created")], mandatory=False)
    assert await ids(broker) == ["id-1"]


async def test_an_acknowledged_message_is_gone(broker, clock):
    await broker.publish([message()])
    (delivery,) = await broker.receive("mail", 10)
    assert await ids(broker) == []
    await broker.ack(delivery)
    await clock.advance(100)
    assert await ids(broker) == []
    assert await broker.depths() == {"mail": (0, 0)}


async def test_a_retry_counts_an_attempt_and_waits(broker, clock):
    await broker.publish([message()])
    (delivery,) = await broker.receive("mail", 10)
    await broker.retry(delivery, delay=5)
    await clock.advance(4.9)
    assert await ids(broker) == []
    await clock.advance(0.1)
    (again,) = await broker.receive("mail", 10)
    assert (delivery.attempt, again.attempt, again.deliveries) == (1, 2, 2)


async def test_a_release_counts_nothing(broker, clock):
    await broker.publish([message()])
    (delivery,) = await broker.receive("mail", 10)
    await broker.release(delivery, delay=5)
    assert await ids(broker) == []
    await clock.advance(5)
    (again,) = await broker.receive("mail", 10)
    assert (again.attempt, again.deliveries) == (1, 1)


async def test_a_lease_that_runs_out_hands_out_again_and_fences_the_old_delivery(broker, clock):
    await broker.publish([message()])
    (old,) = await broker.receive("mail", 10)
    await clock.advance(10)
    (new,) = await broker.receive("mail", 10)
    assert (new.attempt, new.deliveries) == (1, 2)
    for late in (
        broker.ack(old),
        broker.retry(old, delay=0),
        broker.release(old),
        broker.dead(old, reason="late"),
        broker.extend([old]),
    ):
        await late
    assert await broker.depths() == {"mail": (1, 0)}
    assert await ids(broker) == []
    await broker.ack(new)
    assert await broker.depths() == {"mail": (0, 0)}


async def test_an_extended_lease_holds(broker, clock):
    await broker.publish([message()])
    (delivery,) = await broker.receive("mail", 10)
    await clock.advance(9)
    await broker.extend([delivery])
    await clock.advance(9)
    assert await ids(broker) == []


async def test_an_ordered_queue_holds_a_key_until_its_oldest_is_settled(broker, clock):
    await broker.declare("ledger", ["order.*"], ordered=True)
    await broker.publish([message(n, key=key) for n, key in enumerate("aab")] + [message(3)])
    first, other, free = await broker.receive("ledger", 10)
    assert [each.message.id for each in (first, other, free)] == ["id-0", "id-2", "id-3"]
    await broker.retry(first, delay=5)
    assert await ids(broker, "ledger") == []
    await clock.advance(5)
    (first,) = await broker.receive("ledger", 10)
    assert first.message.id == "id-0"
    await broker.dead(first, reason="poison")
    assert await ids(broker, "ledger") == ["id-1"]


async def test_an_unordered_queue_lets_others_pass(broker):
    await broker.publish([message(1, key="a"), message(2, key="a")])
    assert await ids(broker, limit=1) == ["id-1"]
    assert await ids(broker) == ["id-2"]


async def test_the_reason_of_a_dead_letter_is_text_that_can_be_kept(broker):
    await broker.publish([message(1)])
    (delivery,) = await broker.receive("mail", 1)
    await broker.dead(delivery, reason="no \ud800")
    (letter,) = await broker.dead_letters("mail")
    assert letter.reason == "no ?"


async def test_dead_letters_are_listed_replayed_and_dropped(broker, clock):
    await broker.publish([message(1, traceparent="t"), message(2)])
    for delivery in await broker.receive("mail", 10):
        await broker.dead(delivery, reason=f"because of {delivery.message.id}")
    first, second = await broker.dead_letters("mail")
    assert (first.message, first.reason, first.attempts) == (
        message(1, traceparent="t"),
        "because of id-1",
        1,
    )
    assert first.at == clock.wall()
    assert await broker.dead_letters("mail", after=first.tag) == [second]
    assert await broker.replay("mail", first.tag)
    assert not await broker.replay("mail", first.tag)
    (again,) = await broker.receive("mail", 10)
    assert (again.message.id, again.attempt) == ("id-1", 1)
    assert await broker.drop("mail", second.tag)
    assert not await broker.drop("mail", second.tag)
    assert not await broker.drop("other", second.tag)
    assert await broker.dead_letters("mail") == []


async def test_a_publish_wakes_a_receiver(broker):
    waiting = asyncio.create_task(broker.receive("mail", 10, wait=60))
    while not broker._receivers.get("mail"):
        await asyncio.sleep(0)
    await broker.publish([message()])
    async with asyncio.timeout(5):
        assert len(await waiting) == 1


async def test_a_receiver_goes_away_empty_handed_when_its_time_is_up():
    broker = EmbeddedBroker(":memory:", poll=0.01)
    await broker.start()
    await broker.declare("mail", ["order.*"])
    assert await broker.receive("mail", 10, wait=0.03) == []
    await broker.stop()


async def test_a_cancelled_receiver_gives_back_what_it_took(broker):
    await broker.publish([message()])
    for turns in range(12):
        task = asyncio.create_task(broker.receive("mail", 10))
        for _ in range(turns):
            await asyncio.sleep(0.0002)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, list) and outcome:
            await broker.release(outcome[0])
    await broker.ping()  # what the thread still had to do is done
    await broker.ping()
    (delivery,) = await broker.receive("mail", 10)
    assert delivery.deliveries == 1


async def test_what_was_confirmed_survives_a_restart(tmp_path, clock):
    path = tmp_path / "broker.sqlite"
    for expected in ([], ["id-1"]):
        broker = EmbeddedBroker(path, clock=clock)
        await broker.start()
        await broker.declare("mail", ["order.*"])
        assert await ids(broker) == expected
        if not expected:
            await broker.publish([message()])
        await broker.stop()


async def test_two_brokers_share_a_file(tmp_path, broker, clock):
    other = EmbeddedBroker(tmp_path / "broker.sqlite", clock=clock)
    await other.start()
    await other.publish([message(n) for n in range(4)])
    halves = await asyncio.gather(ids(broker, limit=2), ids(other, limit=2))
    assert sorted(halves[0] + halves[1]) == ["id-0", "id-1", "id-2", "id-3"]
    await other.stop()


async def test_a_failing_operation_takes_back_nothing_of_those_in_its_commit(broker):
    outcomes = await asyncio.gather(
        broker.publish([message(1)]),
        broker.publish([message(2, "nobody.listens")]),
        broker.publish([message(3)]),
        return_exceptions=True,
    )
    assert [type(each).__name__ for each in outcomes] == ["NoneType", "UnroutableError", "NoneType"]
    assert await ids(broker) == ["id-1", "id-3"]


async def test_a_locked_file_reads_unavailable_and_comes_back(tmp_path):
    path = tmp_path / "broker.sqlite"
    broker = EmbeddedBroker(path, wait=0.05)
    await broker.start()
    await broker.declare("mail", ["order.*"])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked") as caught:
        await broker.publish([message()])
    assert caught.value.reason == "BROKER_UNAVAILABLE"
    other.close()
    await broker.publish([message()])
    assert await ids(broker) == ["id-1"]
    await broker.stop()


async def test_a_broker_that_is_not_running_reads_unavailable(tmp_path):
    broker = EmbeddedBroker(tmp_path / "no" / "folder")
    with pytest.raises(UnavailableError):
        await broker.start()
    with pytest.raises(UnavailableError, match="not running"):
        await broker.publish([message()])
    await broker.stop()


async def test_a_start_that_is_cancelled_leaves_no_thread_behind(tmp_path):
    broker = EmbeddedBroker(tmp_path / "broker.sqlite", name="cancelled-broker")
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for thread in threading.enumerate():
        if thread.name == "cancelled-broker":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive()
    await broker.start()
    await broker.ping()
    await broker.stop()


async def test_a_clock_that_is_moved_back_holds_up_nothing_that_is_due(broker, clock):
    await broker.publish([message(1), message(2), message(3)])
    first, second, _ = await broker.receive("mail", 3)
    await broker.dead(first, reason="no")
    await broker.release(second)
    await broker.publish([message(4)])
    (letter,) = await broker.dead_letters("mail")
    await broker.replay("mail", letter.tag)
    clock.jump_wall(-3600)
    assert await ids(broker) == ["id-2", "id-4", "id-1"]  # and 3 is leased
