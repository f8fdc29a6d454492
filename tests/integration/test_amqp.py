"""RabbitMQ as a broker, for real: what it shares with the embedded one, and what it survives."""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from contextlib import asynccontextmanager

import aiormq
import pytest
from typer.testing import CliRunner

from prodkit.call import current_call
from prodkit.cli import app
from prodkit.data.database import Database
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import (
    ConfigurationError,
    FailedPreconditionError,
    InvalidArgumentError,
    RateLimitedError,
    UnavailableError,
)
from prodkit.messaging import inbox as inbox_tables
from prodkit.messaging import outbox as outbox_tables
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.dead_letters import DeadLetters
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox
from prodkit.messaging.outbox import Outbox
from prodkit.messaging.relay import OutboxRelay
from prodkit.pipeline import Pipeline
from prodkit.testing import FaultProxy
from prodkit.testing.servers import PrivateRabbitMQ
from prodkit.testing.servers.private import accepts
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.broker import Message, UnroutableError
from prodkit.transports.embedded import EmbeddedBroker

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("rabbitmq")]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server():
    with PrivateRabbitMQ() as server:
        yield server


@pytest.fixture
def exchange():
    return f"t{next(_numbers)}"


@pytest.fixture
async def rabbit(server, exchange):
    async with started(server.url, exchange) as broker:
        yield broker


@pytest.fixture(params=["embedded", "rabbitmq"])
async def broker(request, exchange):
    """Return either broker, with a queue of mail: what the tests below say holds for both."""
    if request.param == "embedded":
        broker = EmbeddedBroker(":memory:", poll=0.01)
    else:
        broker = AmqpBroker(request.getfixturevalue("server").url, exchange=exchange)
    await broker.start()
    await broker.declare("mail", ["order.*", "user.registered"])
    yield broker
    await broker.stop()


@asynccontextmanager
async def started(url, exchange, **options):
    broker = AmqpBroker(url, exchange=exchange, **options)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def message(number=1, type_="order.created", key="", **headers):
    return Message(f"id-{number}", type_, b'{"n":%d}' % number, key, headers)


def event(number, subject="s", type_="order.created"):
    data = {"version": number}
    return Event(type_, subject, data, id=f"e{number}-{subject}", source="/o", time=time.time())


def carried(each):
    return Message(each.id, each.type, each.to_json(), each.subject, {"traceparent": TRACE})


async def take(broker, count, queue="mail", wait=3.0):
    """Return `count` deliveries, or as many as come while there is time."""
    taken, end = [], time.monotonic() + wait
    while len(taken) < count and time.monotonic() < end:
        left = max(0.0, end - time.monotonic())
        taken += await broker.receive(queue, count - len(taken), wait=left)
    return taken


async def ids(broker, count, queue="mail", wait=3.0):
    return [each.message.id for each in await take(broker, count, queue, wait)]


async def nothing(broker, queue="mail", wait=0.15):
    return await broker.receive(queue, 10, wait=wait) == []


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class TestBothBrokers:
    async def test_a_message_reaches_every_queue_that_subscribed(self, broker):
        await broker.declare("audit", ["*"])
        await broker.declare("other", ["order.create", "orders.*"])
        sent = [message(1, key="a", traceparent="t"), message(2, "user.registered")]
        await broker.publish(sent)
        assert [each.message for each in await take(broker, 2)] == sent
        assert await ids(broker, 2, "audit") == ["id-1", "id-2"]
        assert await nothing(broker, "other")

    async def test_an_unroutable_message_is_an_error(self, broker):
        with pytest.raises(UnroutableError, match=r"subscribed to a\.b, product\.created$"):
            await broker.publish([message(1), message(2, "product.created"), message(4, "a.b")])
        await broker.publish([message(2, "product.created"), message(3)], mandatory=False)
        assert await ids(broker, 2, wait=0.3) == ["id-3"]

    async def test_an_acknowledged_message_is_gone(self, broker):
        await broker.publish([message()])
        (delivery,) = await take(broker, 1)
        await broker.ack(delivery)
        await broker.ack(delivery)
        assert await nothing(broker)
        assert await broker.depths() == {"mail": (0, 0)}

    async def test_a_retry_counts_an_attempt_and_waits(self, broker):
        await broker.publish([message(key="k", traceparent="t")])
        (first,) = await take(broker, 1)
        before = time.monotonic()
        await broker.retry(first, delay=0.25)
        (again,) = await take(broker, 1)
        assert time.monotonic() - before >= 0.25
        assert (first.attempt, again.attempt, again.deliveries) == (1, 2, 2)
        assert again.message == first.message

    @pytest.mark.parametrize("delay", [0.0, 0.25])
    async def test_a_release_counts_nothing(self, broker, delay):
        await broker.publish([message()])
        (first,) = await take(broker, 1)
        before = time.monotonic()
        await broker.release(first, delay=delay)
        (again,) = await take(broker, 1)
        assert time.monotonic() - before >= delay
        assert (again.attempt, again.deliveries) == (1, 1)

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_lease_that_runs_out_hands_out_again_and_fences_the_old_delivery(
        self, broker, ordered
    ):
        await broker.declare("ledger", ["ledger.*"], ordered=ordered)
        broker.lease = 0.3
        await broker.publish([message(type_="ledger.changed", key="k")])
        (old,) = await take(broker, 1, "ledger")
        (new,) = await take(broker, 1, "ledger")
        assert (new.attempt, new.deliveries) == (1, 2)
        for late in (
            broker.ack(old),
            broker.retry(old, delay=0),
            broker.release(old),
            broker.dead(old, reason="late"),
            broker.extend([old]),
        ):
            await late
        broker.lease = 15.0
        await broker.extend([new])
        await asyncio.sleep(0.4)
        assert await nothing(broker, "ledger")
        await broker.ack(new)
        assert (await broker.depths())["ledger"] == (0, 0)

    async def test_an_ordered_queue_holds_a_key_until_its_oldest_is_settled(self, broker):
        await broker.declare("ledger", ["ledger.*"], ordered=True)
        keyed = [message(n, "ledger.changed", key) for n, key in enumerate("aab")]
        await broker.publish([*keyed, message(3, "ledger.changed")])
        taken = {each.message.id: each for each in await take(broker, 3, "ledger")}
        assert set(taken) == {"id-0", "id-2", "id-3"}
        await broker.retry(taken["id-0"], delay=0.25)
        assert await nothing(broker, "ledger", wait=0.2)
        (first,) = await take(broker, 1, "ledger")
        assert (first.message.id, first.attempt) == ("id-0", 2)
        await broker.dead(first, reason="poison")
        assert await ids(broker, 1, "ledger") == ["id-1"]

    async def test_dead_letters_are_listed_replayed_and_dropped(self, broker):
        await broker.publish([message(1, key="k", traceparent="t"), message(2), message(3)])
        for delivery in await take(broker, 3):
            await broker.dead(delivery, reason=f"because of {delivery.message.id} \ud800")
        first, second, third = await broker.dead_letters("mail")
        assert first.message == message(1, key="k", traceparent="t")
        assert (first.reason, first.attempts) == ("because of id-1 ?", 1)
        assert abs(first.at - time.time()) < 5
        assert await broker.dead_letters("mail", after=first.tag) == [second, third]
        assert await broker.dead_letters("mail", limit=1, after=first.tag) == [second]
        assert await broker.replay("mail", first.tag)
        assert not await broker.replay("mail", first.tag)
        (again,) = await take(broker, 1)
        assert (again.message.id, again.attempt, again.deliveries) == ("id-1", 1, 1)
        assert await broker.drop("mail", second.tag)
        assert not await broker.drop("mail", second.tag)
        assert await broker.dead_letters("mail") == [third]

    async def test_a_publish_wakes_a_receiver_and_one_that_is_cancelled_takes_nothing(self, broker):
        waiting = asyncio.create_task(broker.receive("mail", 10, wait=60))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.create_task(broker.receive("mail", 10, wait=60))
        await broker.publish([message()])
        async with asyncio.timeout(5):
            (delivery,) = await waiting
        assert delivery.deliveries == 1

    @pytest.mark.parametrize("ordered", [False, True])
    async def test_a_consumer_gives_up_poison_after_exactly_max_and_lets_others_pass(
        self, broker, ordered
    ):
        """Scenario 31: nothing is lost on the way, and nobody waits for it."""
        attempts, lags = defaultdict(list), []

        async def handle(each):
            if each.subject.startswith("poison"):
                attempts[each.id].append(current_call().attempt)
                raise KeyError("4111111111111111")
            lags.append(time.time() - each.time)

        options = {"max_attempts": 3, "retry_delay": 0.1, "retry_max": 0.2}
        handlers = {"order.*": handle}
        consumer = Consumer(broker, "mail2", handlers, ordered=ordered, **options)
        await consumer.start()
        poison = [event(n, f"poison{n}") for n in range(5)]
        await broker.receive("mail2", 1, wait=0.3)  # all partitions are consumed by now
        sane = [event(n, f"s{n}") for n in range(200)]
        await broker.publish([carried(each) for each in [*poison, *sane]])
        await until(lambda: len(lags) == 200 and sum(map(len, attempts.values())) == 15)
        letters: list = []
        while len(letters) < 5:
            letters = await DeadLetters(broker, "mail2").list()
        await consumer.stop(1.0)
        assert list(attempts.values()) == [[1, 2, 3]] * 5
        assert sorted(lags)[198] <= 1.0
        assert {each.event.id for each in letters} == {each.id for each in poison}
        assert {
            (each.letter.attempts, each.letter.reason, each.traceparent) for each in letters
        } == {(3, "KeyError", TRACE)}

    async def test_a_refusal_of_the_message_never_counts(self, broker):
        refusals, handled = 0, []

        async def limiter(call, proceed):
            nonlocal refusals
            if refusals < 4:
                refusals += 1
                raise RateLimitedError(
                    "later", call=call, policy="p", measured=1, threshold=1, retry_after=0.125
                )
            return await proceed(call)

        async def handle(_):
            handled.append(current_call().attempt)

        handlers = {"order.*": handle}
        consumer = Consumer(broker, "mail", handlers, pipeline=Pipeline(limiter), max_attempts=2)
        await consumer.start()
        before = time.monotonic()
        await broker.publish([carried(event(1))])
        await until(lambda: handled)
        assert time.monotonic() - before >= 4 * 0.125
        await consumer.stop(1.0)
        assert handled == [1]
        assert await broker.dead_letters("mail") == []

    async def test_a_consumer_that_stops_finishes_and_leaves_the_rest_to_others(self, broker):
        begun, go_on, handled = asyncio.Event(), asyncio.Event(), []

        async def slow(each):
            begun.set()
            await go_on.wait()
            handled.append(each.id)

        consumer = Consumer(broker, "mail", {"order.*": slow}, concurrency=2)
        await broker.publish([carried(event(n)) for n in range(6)])
        await consumer.start()
        await begun.wait()
        stopping = asyncio.create_task(consumer.stop(5.0))
        await asyncio.sleep(0.05)
        go_on.set()
        await stopping
        assert len(handled) == 2
        rest = await take(broker, 4)
        assert sorted([*handled, *(each.message.id for each in rest)]) == [
            f"e{n}-s" for n in range(6)
        ]


class TestWhatIsWrongIsSaid:
    @pytest.mark.parametrize(
        ("change", "error", "says"),
        [
            (("guest:guest", "guest:hush"), ConfigurationError, "refuses user 'guest'"),
            (("guest:guest", "nobody:hush"), ConfigurationError, "refuses user 'nobody'"),
            ((":guest@127.0.0.1", ":guest@127.0.0.1.hush.invalid"), UnavailableError, "hush"),
        ],
    )
    async def test_who_may_not_enter(self, server, change, error, says):
        with pytest.raises(error, match=says) as caught:
            await AmqpBroker(server.url.replace(*change)).start()
        assert "hush" not in str(caught.value).replace("hush.invalid", "")

    async def test_what_is_not_there(self, server, rabbit):
        with pytest.raises(ConfigurationError, match="virtual host 'nosuch'"):
            await AmqpBroker(f"{server.url}nosuch").start()
        with pytest.raises(FailedPreconditionError, match="queue mail was not declared"):
            await rabbit.receive("mail", 1)
        for look in (rabbit.dead_letters("mail"), rabbit.drop("mail", 1)):
            with pytest.raises(FailedPreconditionError, match=r"mail\.dead") as caught:
                await look
            assert caught.value.reason == "QUEUE_MISSING"

    async def test_a_queue_that_is_there_and_differs(self, server, rabbit, exchange):
        connection = await aiormq.connect(server.url)
        channel = await connection.channel()
        await channel.queue_declare(f"{exchange}.mail", durable=True)
        await connection.close()
        with pytest.raises(FailedPreconditionError, match=rf"{exchange}\.mail") as caught:
            await rabbit.declare("mail", ["order.*"])
        assert caught.value.reason == "QUEUE_DIFFERS"
        await rabbit.declare("ledger", ["order.*"], ordered=True)
        with pytest.raises(FailedPreconditionError, match=rf"{exchange}\.ledger"):
            await rabbit.declare("ledger", ["order.*"])
        for number, says in ((4, "more"), (9, "fewer")):
            async with started(server.url, exchange, partitions=number) as other:
                with pytest.raises(FailedPreconditionError, match=f"{says} than {number}"):
                    await other.declare("ledger", ["order.*"], ordered=True)

    async def test_what_amqp_cannot_carry(self, rabbit):
        await rabbit.declare("mail", ["order.*"])
        for bad in (
            Message("", "order.created", b""),
            Message("i" * 241, "order.created", b""),
            Message("1", "order." + "ü" * 120, b""),
            Message("1", "order.created", b"", "k", {"name": "\ud800"}),
        ):
            with pytest.raises(InvalidArgumentError):
                await rabbit.publish([bad])
        await rabbit.publish([message()])
        with pytest.raises(ConfigurationError, match=r"order\*"):
            await rabbit.declare("mail", ["order*"])

    async def test_a_broker_that_does_not_run(self, server, exchange):
        broker = AmqpBroker(server.url, exchange=exchange)
        for operation in (
            broker.publish([message()]),
            broker.declare("mail", ["o.*"]),
            broker.ping(),
        ):
            with pytest.raises(UnavailableError, match="not connected"):
                await operation
        async with started("amqp://127.0.0.1:1/", exchange, required=False) as away:
            with pytest.raises(UnavailableError):
                await away.ping()
        await broker.stop()


class TestPublishing:
    async def test_one_id_many_times_at_once_is_told_apart(self, rabbit):
        """The driver knows a returned message by its id alone."""
        await rabbit.declare("mail", ["order.*"])
        sent = [rabbit.publish([message(1, ("order.x", "nobody.x")[n % 2])]) for n in range(20)]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(each, UnroutableError) for each in outcomes] == [False, True] * 10
        assert await ids(rabbit, 10) == ["id-1"] * 10

    async def test_a_relay_and_a_consumer_work_unchanged(self, rabbit, tmp_path):
        database = Database(tmp_path / "orders.sqlite")
        await database.start()
        await database.create_all(outbox_tables.metadata, inbox_tables.metadata)
        outbox = Outbox("/orders")
        relay = OutboxRelay(database, outbox, rabbit, poll=0.02)
        got = []

        async def handle(each):
            got.append((each.subject, each.data["version"], current_call().metadata["traceparent"]))

        consumer = Consumer(rabbit, "mail", {"order.*": handle}, ordered=True)
        await consumer.start()
        await relay.start()
        async with UnitOfWork(database, outbox)() as work:
            for n in range(4):
                data, subject = {"version": n}, f"s{n % 2}"
                work.record(Event("order.created", subject, data, traceparent=TRACE))
            work.record(Event("nobody.listens", "s3", {}))
        await until(lambda: len(got) == 4)
        assert sorted(got) == [
            ("s0", 0, TRACE),
            ("s0", 2, TRACE),
            ("s1", 1, TRACE),
            ("s1", 3, TRACE),
        ]
        await consumer.stop(1.0)
        await relay.stop(1.0)
        await database.stop()

    async def test_all_dead_letters_are_replayed_and_none_is_overlooked(self, rabbit):
        await rabbit.declare("mail", ["order.*"])
        await rabbit.publish([message(n) for n in range(30)])
        for delivery in await take(rabbit, 30):
            await rabbit.dead(delivery, reason="KeyError")
        letters = DeadLetters(rabbit, "mail")
        seen = await asyncio.gather(*(letters.list() for _ in range(5)))
        assert [len(each) for each in seen] == [30] * 5
        assert await letters.replay_all() == 30
        assert await ids(rabbit, 31, wait=1.0) == [f"id-{n}" for n in range(30)]
        assert await letters.list() == []

    async def test_an_operator_sees_replays_and_drops_dead_letters(self, server, rabbit, exchange):
        await rabbit.declare("mail", ["order.*"], ordered=True)
        await rabbit.publish([carried(event(n, f"s{n}")) for n in range(3)])
        for delivery in await take(rabbit, 3):
            await rabbit.dead(delivery, reason="KeyError")

        async def dlq(*words, code=0):
            options = ["--broker", server.url, "--exchange", exchange]
            done = await asyncio.to_thread(CliRunner().invoke, app, ["dlq", *words, *options])
            assert done.exit_code == code, done.output
            return done.output.splitlines()

        tags = [line.split("\t")[0] for line in await dlq("list", "mail")]
        assert f"traceparent: {TRACE}" in await dlq("show", "mail", tags[1])
        assert await dlq("drop", "mail", tags[0]) == [f"dropped {tags[0]}"]
        assert await dlq("replay", "mail", "--all") == ["replayed 2"]
        assert len(await take(rabbit, 2)) == 2
        assert "no dead letter" in (await dlq("drop", "mail", tags[0], code=1))[0]
        assert "nosuch.dead" in (await dlq("list", "nosuch", code=1))[0]


class TestOrder:
    async def test_a_consumer_that_stops_leaves_the_rest_to_others_in_order(self, server, exchange):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_):
            begun.set()
            await go_on.wait()

        async with started(server.url, exchange) as one, started(server.url, exchange) as two:
            consumer = Consumer(one, "ledger", {"order.*": slow}, ordered=True)
            await consumer.start()
            await one.publish([carried(event(n)) for n in range(5)])
            await begun.wait()
            stopping = asyncio.create_task(consumer.stop(5.0))
            await two.declare("ledger", ["order.*"], ordered=True)
            assert await nothing(two, "ledger", wait=0.5)  # the first is still in hand
            go_on.set()
            await stopping
            for number in range(1, 5):
                (delivery,) = await take(two, 1, "ledger", wait=5.0)
                assert delivery.message.id == f"e{number}-s"
                await two.ack(delivery)

    async def test_partitions_are_shared_and_taken_over(self, server, exchange):
        async with started(server.url, exchange) as one:
            await one.declare("ledger", ["order.*"], ordered=True)
            waits = [asyncio.create_task(one.receive("ledger", 1, wait=30))]
            await asyncio.sleep(0.3)
            assert partitions(one) == 8
            async with started(server.url, exchange) as two:
                await two.declare("ledger", ["order.*"], ordered=True)
                waits.append(asyncio.create_task(two.receive("ledger", 1, wait=30)))
                await until(lambda: (partitions(one), partitions(two)) == (4, 4))
            await until(lambda: partitions(one) == 8)
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def test_each_orders_versions_are_handled_in_order_whatever_fails(self, server, exchange):
        """Scenario 32: three consumers, handlers that fail, connections that are cut."""
        handled, seen = defaultdict(list), set()
        brokers = [AmqpBroker(server.url, exchange=exchange, name=f"b{n}") for n in range(3)]

        async def handle(each):
            if each.id in seen:  # as an inbox would
                return
            await asyncio.sleep(random.uniform(0, 0.004))
            if random.random() < 0.1:
                raise KeyError
            if each.id not in seen:
                seen.add(each.id)
                handled[each.subject].append(each.data["version"])

        consumers = [
            Consumer(
                broker,
                "ledger",
                {"order.*": handle},
                ordered=True,
                max_attempts=50,
                max_deliveries=100,
                retry_delay=0.01,
                retry_max=0.02,
            )
            for broker in brokers
        ]
        for broker in brokers:
            await broker.start()
        for consumer in consumers:
            await consumer.start()
        for n in range(16):
            await brokers[0].publish([carried(event(n, f"s{k}")) for k in range(12)])
            if n in (5, 10, 15):
                brokers[n // 5 - 1]._in.cut("is cut by a test")
                await asyncio.sleep(0.1)
        await until(lambda: len(seen) == 192)
        for consumer in consumers:
            await consumer.stop(1.0)
        for broker in brokers:
            await broker.stop()
        assert handled == {f"s{k}": list(range(16)) for k in range(12)}


def partitions(broker):
    subscription = broker._subscriptions.get("ledger")
    return len(subscription._consumers.intakes) if subscription else 0


def consuming(broker):
    """Return what consumes the mail."""
    intakes = broker._subscriptions["mail"]._consumers.intakes.values()
    return next((each for each in intakes if each._consumer), None)


class TestCrashes:
    async def test_each_message_five_times_and_consumers_that_die_before_they_acknowledge(
        self, server, exchange, tmp_path
    ):
        """Scenario 30: the state changes once for each event."""
        database = Database(tmp_path / "mail.sqlite")
        await database.start()
        await database.create_all(inbox_tables.metadata, outbox_tables.metadata)
        changed = []

        async def change(each, _):
            changed.append(each.id)

        inner = Inbox("mail").handler(UnitOfWork(database, Outbox("/mail")), change)
        brokers = [AmqpBroker(server.url, exchange=exchange, name=f"b{n}") for n in range(4)]
        calls = itertools.count(1)

        def handler(broker):
            async def handle(each):
                await inner(each)
                if next(calls) % 40 == 0:
                    broker._in.cut("died between commit and ack")

            return handle

        consumers = [
            Consumer(broker, "mail", {"order.*": handler(broker)}, max_deliveries=1000)
            for broker in brokers
        ]
        for broker, consumer in zip(brokers, consumers, strict=True):
            await broker.start()
            await consumer.start()
        events = [event(n) for n in range(40)]
        for _ in range(5):
            await brokers[0].publish([carried(each) for each in events])
        await until(lambda: len(set(changed)) == 40 and next(calls) > 200)
        await asyncio.sleep(0.3)  # what was lost with a connection comes again
        for consumer in consumers:
            await consumer.stop(2.0)
        for broker in brokers:
            await broker.stop()
        await database.stop()
        assert sorted(changed) == sorted(each.id for each in events)

    async def test_a_queue_that_is_deleted_is_made_again(self, server, rabbit, exchange):
        await rabbit.declare("mail", ["order.*"])
        await rabbit.publish([message()])
        (delivery,) = await take(rabbit, 1)
        connection = await aiormq.connect(server.url)
        await (await connection.channel()).queue_delete(f"{exchange}.mail.dead")
        await connection.close()
        await rabbit.dead(delivery, reason="no")
        assert len(await rabbit.dead_letters("mail")) == 1
        waiting, old = asyncio.create_task(rabbit.receive("mail", 1, wait=30)), consuming(rabbit)
        connection = await aiormq.connect(server.url)
        await (await connection.channel()).queue_delete(f"{exchange}.mail")
        await connection.close()
        with pytest.raises(UnroutableError):  # nobody noticed yet
            await rabbit.publish([message(2)])
        await until(lambda: consuming(rabbit) is not old and consuming(rabbit) is not None)
        await rabbit.publish([message(3)])
        assert [each.message.id for each in await waiting] == ["id-3"]

    async def test_a_black_hole_is_noticed_and_nothing_hangs(self, server, exchange):
        async with FaultProxy("127.0.0.1", server.port) as proxy:
            url = f"amqp://guest:guest@127.0.0.1:{proxy.port}/"
            async with started(url, exchange, timeout=1.0, heartbeat=1) as broker:
                await broker.declare("mail", ["order.*"])
                await broker.publish([message(1)])
                await take(broker, 1)
                proxy.black_hole()
                began = time.monotonic()
                with pytest.raises(UnavailableError, match="in time"):
                    await broker.publish([message(2)])
                assert time.monotonic() - began < 1.5
                with pytest.raises(UnavailableError):
                    await broker.publish([message(2)])
                await unavailable(broker, 12)  # by its heartbeats, for it says nothing
                proxy.heal()
                await until(lambda: broker._in.up.is_set() and broker._out.up.is_set())
                await broker.publish([message(3)])
                await until(lambda: not broker._subscriptions["mail"]._error)
                assert "id-3" in await ids(broker, 3, wait=1.0)
                proxy.black_hole()
                began = time.monotonic()
                await broker.stop()
                assert time.monotonic() - began < 3.0

    @pytest.mark.timeout(900)
    @pytest.mark.parametrize("crashes", [1, pytest.param(5, marks=pytest.mark.slow)])
    async def test_what_was_confirmed_survives_kill_9(self, server, exchange, crashes):
        """Scenario 28."""
        confirmed, handled, resumed = set(), set(), []
        async with started(server.url, exchange, timeout=2.0) as broker:
            consumer = Consumer(broker, "mail", {"order.*": handle_into(handled)})
            await consumer.start()
            publishing = asyncio.create_task(publish_for_ever(broker, confirmed))
            for _ in range(crashes):
                before = len(confirmed)
                await until(lambda: len(confirmed) >= before + 300, 60)  # noqa: B023
                # A single RabbitMQ 3.10 that is killed within a second of the creation of a quorum
                # queue elects no leader for it afterwards (as in rabbitmq-server #10070).
                await asyncio.sleep(2.0)
                resumed.append(await crash(server, confirmed))
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await until(lambda: confirmed <= handled, 120)
            await consumer.stop(1.0)
        print(  # noqa: T201 - its figures
            f"\n28 broker crash: {crashes} x kill -9; {len(confirmed)} confirmed,"
            f" {len(confirmed - handled)} lost; published again {max(resumed):.1f} s after the port"
            " opened at most"
        )
        assert max(resumed) <= 5.0


async def crash(server, confirmed):
    """Kill the broker and start it; return how long after its port opened one can publish."""
    await asyncio.to_thread(server.kill)
    before = len(confirmed)
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    opened = await when_open(server, starting)
    await until(lambda: len(confirmed) > before + 50, 15)
    return time.monotonic() - opened


async def unavailable(broker, seconds):
    async with asyncio.timeout(seconds):
        with pytest.raises(UnavailableError):
            await take(broker, 2, wait=seconds)


async def when_open(server, starting):
    while not accepts(server.port):
        await asyncio.sleep(0.02)
    opened = time.monotonic()
    await starting
    return opened


def handle_into(handled):
    async def handle(each):
        handled.add(each.id)

    return handle


async def publish_for_ever(broker, confirmed):
    for n in itertools.count():
        batch = [carried(event(10 * n + k)) for k in range(10)]
        try:
            await broker.publish(batch)
        except UnavailableError:
            await asyncio.sleep(0.05)
        else:
            confirmed |= {each.id for each in batch}
