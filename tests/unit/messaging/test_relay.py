"""The outbox and its relay; turns of the relay's loop are driven by hand."""

import asyncio
import logging
from dataclasses import replace

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from sqlalchemy import func, select

from prodkit.call import CURRENT, Call
from prodkit.data.unit_of_work import UnitOfWork
from prodkit.errors import ConfigurationError, InvalidArgumentError, UnavailableError
from prodkit.messaging import outbox_leases
from prodkit.messaging.event import Event
from prodkit.messaging.housekeeping import Housekeeping
from prodkit.messaging.outbox import Outbox, outbox
from prodkit.messaging.relay import Backlog, OutboxRelay

pytestmark = pytest.mark.anyio


class Broker:
    """Records what is published; refuses what it is told to."""

    def __init__(self):
        self.published, self.batches, self.refuse, self.away = [], 0, set(), False
        self.before = lambda: None
        self.refusal = InvalidArgumentError("refused")

    async def publish(self, messages, /, *, mandatory=True):
        self.batches += 1
        self.before()
        if self.away:
            raise UnavailableError("away")
        if mandatory and any(each.id in self.refuse for each in messages):
            raise self.refusal
        self.published.extend(messages)

    @property
    def ids(self):
        return [each.id for each in self.published]


@pytest.fixture
def sink():
    return Broker()


@pytest.fixture
def relay(database, store, sink, clock):
    return OutboxRelay(database, store, sink, clock=clock)


async def record(units, *events):
    async with units() as work:
        work.record(*events)


def event(id_, subject="a", type_="order.created"):
    return Event(type_, subject, {"id": id_}, id=id_)


async def test_what_commits_is_published_in_order_once(units, relay, sink):
    await record(units, event("1"), event("2", "b"))
    await record(units, event("3"))
    await relay._turn()
    await relay._turn()
    assert sink.ids == ["1", "2", "3"]


async def test_what_rolls_back_is_not_published(units, relay, sink):
    async def fail() -> None:
        async with units() as work:
            work.record(event("1"))
            await work.tx.connection.rollback()
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await relay._turn()
    assert sink.ids == []


async def test_an_event_carries_source_time_and_request(units, relay, sink, clock):
    token = CURRENT.set(Call("POST /orders", request_id="r1"))
    await record(units, event("1"))
    CURRENT.reset(token)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    await record(units, replace(event("2"), traceparent=trace, source="/other"))
    await relay._turn()
    first, second = sink.published
    sent = Event.from_json(first.body)
    assert (sent.source, sent.time, sent.request_id) == ("/orders", clock.wall(), "r1")
    assert (first.key, first.type, first.headers) == ("a", "order.created", {"x-request-id": "r1"})
    background = Event.from_json(second.body)
    assert background.source == "/other"
    assert len(background.request_id) == 32  # no request asked for it: it gets an id of its own
    assert second.headers == {"traceparent": trace, "x-request-id": background.request_id}


async def test_an_event_keeps_the_trace_that_it_was_recorded_in(units, relay, sink):
    span = NonRecordingSpan(SpanContext(0xAB, 0xCD, is_remote=False, trace_flags=TraceFlags(1)))
    with use_span(span):
        await record(units, event("1"))
    await relay._turn()
    (message,) = sink.published
    expected = f"00-{0xAB:032x}-{0xCD:016x}-01"
    assert message.headers["traceparent"] == expected
    assert Event.from_json(message.body).traceparent == expected


async def test_a_crash_before_the_mark_publishes_again_with_the_same_id(units, relay, sink):
    await record(units, event("1"))
    mark, relay._mark = relay._mark, None
    with pytest.raises(TypeError):
        await relay._turn()
    relay._mark = mark
    await relay._turn()
    await relay._turn()
    assert sink.ids == ["1", "1"]


async def test_a_broker_that_is_away_costs_no_attempt(units, relay, sink, database):
    await record(units, event("1"))
    sink.away = True
    with pytest.raises(UnavailableError):
        await relay._turn()
    sink.away = False
    await relay._turn()
    assert sink.ids == ["1"]
    async with database.read() as tx:
        assert (await tx.execute(select(func.max(outbox.c.attempts)))).scalar_one() == 0


async def test_a_poisoned_event_holds_its_subject_alone(units, relay, sink, clock):
    await record(units, event("1"), event("2", "b"), event("3"), event("4", "b"))
    sink.refuse = {"1"}
    await relay._turn()
    assert sink.ids == ["2", "4"]
    await record(units, event("5"), event("6", "b"))
    await relay._turn()
    assert sink.ids == ["2", "4", "6"]
    sink.refuse = set()
    await clock.advance(0.5)
    await relay._turn()
    assert sink.ids == ["2", "4", "6", "1", "3", "5"]


async def test_a_poisoned_event_is_tried_less_and_less_often(
    units, relay, sink, clock, database, caplog
):
    await record(units, event("1"))
    sink.refuse = {"1"}
    delays = []
    for _ in range(9):
        await relay._turn()
        async with database.read() as tx:
            row = (await tx.execute(select(outbox))).one()
        delays.append(round(row.next_attempt - clock.wall(), 3))
        await clock.advance(delays[-1])
    assert delays == [0.5, 1, 2, 4, 8, 15, 15, 15, 15]
    assert row.error == "refused"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["order.created 1 is held back: refused"] * 9


async def test_a_refusal_is_told_with_its_notes(units, relay, sink, database, caplog):
    await record(units, event("1"))
    sink.refuse = {"1"}
    sink.refusal.add_note("the broker has no queue mail")
    await relay._turn()
    assert "order.created 1 is held back: the broker has no queue mail" in caplog.messages
    async with database.read() as tx:
        assert (await tx.execute(select(outbox.c.error))).scalar_one() == (
            "the broker has no queue mail"
        )


async def test_optional_types_need_no_subscriber_and_keep_their_order(units, database, store, sink):
    relay = OutboxRelay(database, store, sink, optional_types=["product.*"])
    await record(units, event("1"), event("2", type_="product.updated"), event("3"))
    sink.refuse = {"2"}
    await relay._turn()
    assert sink.ids == ["1", "2", "3"]


async def test_no_connection_is_held_while_publishing(units, relay, sink, database):
    await record(units, event("1"))
    held = []
    sink.before = lambda: held.append(
        (database.writer.pool.checkedout(), database._reader.pool.checkedout())
    )
    await relay._turn()
    assert held == [(0, 0)]


async def test_the_backlog_tells_how_much_how_old_and_what_fails(units, relay, sink, clock):
    await record(units, event("1"), event("2", "b"))
    sink.refuse = {"1"}
    await clock.advance(30)
    await relay._turn()
    assert relay.backlog == Backlog(pending=1, age=30.0, failing=1)
    sink.refuse = set()
    await clock.advance(5)
    await relay._turn()
    await clock.advance(5)
    await relay._turn()
    assert relay.backlog == Backlog()


async def test_the_backlog_grows_while_the_broker_is_away(units, relay, sink, clock):
    await record(units, event("1"))
    sink.away = True
    with pytest.raises(UnavailableError):
        await relay._turn()
    await clock.advance(60)
    with pytest.raises(UnavailableError):
        await relay._turn()
    assert relay.backlog == Backlog(pending=1, age=60.0)


async def test_a_commit_wakes_the_relay(units, relay, sink):
    await relay.start()
    async with asyncio.timeout(5):
        await record(units, event("1"))
        while sink.ids != ["1"]:
            await asyncio.sleep(0.001)
    await relay.stop(1.0)
    await relay.wait()


async def test_two_relays_share_partitions_and_never_a_subject(database, clock, sink):
    store = Outbox("/orders", partitions=4, clock=clock)
    units = UnitOfWork(database, store)
    one, two = (OutboxRelay(database, store, sink, lease=15, clock=clock) for _ in range(2))
    await one._renew()
    assert one._partitions == {0, 1, 2, 3}
    await two._renew()
    assert two._partitions == frozenset()
    await clock.advance(5)
    await one._renew()
    await two._renew()
    await clock.advance(5)
    await two._renew()
    assert one._partitions | two._partitions == {0, 1, 2, 3}
    assert len(one._partitions) == len(two._partitions) == 2
    await record(units, *(event(f"{n}", f"s{n % 5}") for n in range(20)))
    await asyncio.gather(one._turn(), two._turn())
    assert sorted(sink.ids, key=int) == [f"{n}" for n in range(20)]
    for subject in range(5):
        mine = [int(each.id) for each in sink.published if each.key == f"s{subject}"]
        assert mine == sorted(mine)


async def test_a_dead_relays_partitions_are_taken_over_when_its_lease_ends(
    database, store, sink, clock
):
    dead, heir = (OutboxRelay(database, store, sink, lease=15, clock=clock) for _ in range(2))
    await dead._renew()
    await clock.advance(14)
    await heir._renew()
    assert heir._partitions == frozenset()
    await clock.advance(5)
    await heir._renew()
    assert len(heir._partitions) == 16


async def test_a_relay_that_stops_lets_go_at_once(database, store, sink, clock):
    leaver, heir = (OutboxRelay(database, store, sink, clock=clock) for _ in range(2))
    await leaver._renew()
    await leaver.stop(0)
    await heir._renew()
    assert len(heir._partitions) == 16


async def test_sent_rows_are_purged_after_the_retention(units, relay, database, store, clock):
    await record(units, event("1"))
    await relay._turn()
    await record(units, event("2"))
    await clock.advance(7 * 86400 + 1)
    await record(units, event("3"))
    housekeeping = Housekeeping(database, store.purge, clock=clock)
    assert await housekeeping._turn() == 600
    async with database.read() as tx:
        assert list((await tx.execute(select(outbox.c.id))).scalars()) == ["2", "3"]


async def test_leases_leave_no_rows_behind(database, store, sink, clock):
    relay = OutboxRelay(database, store, sink, clock=clock)
    await relay._renew()
    await relay.stop(0)
    async with database.read() as tx:
        assert (await tx.execute(select(outbox_leases.leases))).all() == []
        assert (await tx.execute(select(outbox_leases.relays))).all() == []


def test_wrong_options_are_named():
    with pytest.raises(ConfigurationError, match="source"):
        Outbox("")
    with pytest.raises(ConfigurationError, match="partitions"):
        Outbox("/orders", partitions=0)
