import pytest
from sqlalchemy import func, select

from prodkit.errors import ConfigurationError
from prodkit.messaging.event import Event
from prodkit.messaging.inbox import Inbox, inbox

pytestmark = pytest.mark.anyio
EVENT = Event("order.created", "a", id="1", source="/orders")


async def test_an_event_is_new_once_per_consumer_and_source(database, clock):
    mail, audit = Inbox("mail", clock=clock), Inbox("audit", clock=clock)
    async with database.transaction() as tx:
        assert not await mail.seen(tx, EVENT)
        assert await mail.first_time(tx, EVENT)
        assert not await mail.first_time(tx, EVENT)
        assert await mail.seen(tx, EVENT)
        assert await audit.first_time(tx, EVENT)
        assert await mail.first_time(tx, Event("t", "a", id="1", source="/other"))


async def test_a_handler_runs_once_and_not_at_all_if_it_failed(units, clock):
    handled, fail = [], True

    async def function(event, work):
        if fail:
            raise KeyError
        handled.append(event.id)
        work.record(Event("mail.sent", event.subject))

    handler = Inbox("mail", clock=clock).handler(units, function)
    with pytest.raises(KeyError):
        await handler(EVENT)
    fail = False
    await handler(EVENT)
    await handler(EVENT)
    assert handled == ["1"]


async def test_old_rows_are_purged(database, clock):
    store = Inbox("mail", retention=100, clock=clock)
    async with database.transaction() as tx:
        for number in range(5):
            await store.first_time(tx, Event("t", "a", id=str(number), source="/orders"))
    await clock.advance(101)
    async with database.transaction() as tx:
        await store.first_time(tx, EVENT)
        await store.first_time(tx, Event("t", "a", id="new", source="/orders"))
        assert await store.purge(tx, limit=3) == 3
        assert await store.purge(tx, limit=3) == 2
        assert (await tx.execute(select(func.count()).select_from(inbox))).scalar_one() == 1


def test_a_consumer_has_a_name():
    with pytest.raises(ConfigurationError):
        Inbox("")
