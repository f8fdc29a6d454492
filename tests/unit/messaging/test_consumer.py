import asyncio
import logging

import pytest

from prodkit.call import Kind, current_call
from prodkit.errors import ConfigurationError, NotFoundError, RateLimitedError, UnavailableError
from prodkit.messaging.consumer import Consumer
from prodkit.messaging.dead_letters import DeadLetters
from prodkit.messaging.event import Event
from prodkit.pipeline import Pipeline
from prodkit.policies.timeout import Timeout
from prodkit.traits import Trait
from prodkit.transports.broker import Delivery, Message

pytestmark = pytest.mark.anyio
FAST = {"retry_delay": 0.001, "retry_max": 0.002}


def event(id_="1", subject="a", type_="order.created"):
    return Event(type_, subject, id=id_, source="/orders", request_id="r1")


def message(each):
    return Message(each.id, each.type, each.to_json(), each.subject, {"traceparent": "t"})


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def settled(broker, queue="mail"):
    async with asyncio.timeout(5):
        while (await broker.depths())[queue][0]:
            await asyncio.sleep(0.001)


@pytest.fixture
async def run(broker):
    consumers = []

    async def start(handler, *events, **options):
        handlers = {"order.*": handler}
        consumer = Consumer(broker, "mail", handlers, **{**FAST, **options})
        await broker.declare("mail", ["order.*"])
        if events:
            await broker.publish([message(each) for each in events])
        await consumer.start()
        consumers.append(consumer)
        return consumer

    yield start
    for consumer in consumers:
        await consumer.stop(1.0)
        await consumer.wait()


async def test_a_handled_message_is_acknowledged(broker, run):
    seen = []

    async def handle(each):
        seen.append((each, current_call()))

    await run(handle, event())
    await settled(broker)
    ((got, call),) = seen
    assert got == event()
    assert (call.kind, call.transport, call.operation) == (
        Kind.CONSUMER,
        "message",
        "mail order.created",
    )
    assert (call.request_id, call.attempt, dict(call.metadata)) == ("r1", 1, {"traceparent": "t"})


async def test_a_failing_message_is_a_dead_letter_after_exactly_max_attempts(broker, run):
    attempts = []

    async def handle(_):
        attempts.append(current_call().attempt)
        raise KeyError("4111111111111111")

    await run(handle, event(), max_attempts=3)
    await settled(broker)
    assert attempts == [1, 2, 3]
    (dead,) = await DeadLetters(broker, "mail").list()
    assert (dead.letter.reason, dead.letter.attempts, dead.event) == ("KeyError", 3, event())
    assert dead.traceparent == "t"


@pytest.mark.parametrize("traits", [Trait.NONE, Trait.OBSERVES])
async def test_an_unknown_exception_is_logged_where_nothing_observes(broker, run, caplog, traits):
    class Member:
        def __init__(self):
            self.traits = traits

        async def __call__(self, call, proceed):
            return await proceed(call)

    async def handle(each):
        raise KeyError("unexpected") if each.id == "1" else NotFoundError("expected")

    with caplog.at_level(logging.ERROR, "prodkit.messaging"):
        await run(handle, event(), event("2"), max_attempts=1, pipeline=Pipeline(Member()))
        await settled(broker)
    told = [record.getMessage() for record in caplog.records]
    assert told == ([] if traits else ["mail order.created failed"])


async def test_a_replayed_dead_letter_is_handled_again(broker, run):
    healed, handled = False, []

    async def handle(each):
        if not healed:
            raise NotFoundError("no such order")
        handled.append(each.id)

    await run(handle, event(), event("2"), max_attempts=1)
    await settled(broker)
    letters = DeadLetters(broker, "mail")
    first, second = await letters.list()
    assert first.letter.reason == "NotFoundError: no such order"
    healed = True
    await letters.drop(first.letter.tag)
    assert await letters.replay_all() == 1
    await settled(broker)
    assert handled == [second.event.id]
    for gone in (letters.replay, letters.drop):
        with pytest.raises(NotFoundError):
            await gone(first.letter.tag)


async def test_only_what_was_replayed_is_counted(broker, run, monkeypatch):
    async def handle(_):
        raise NotFoundError("no such order")

    await run(handle, event(), event("2"), event("3"), max_attempts=1)
    await settled(broker)
    letters = DeadLetters(broker, "mail")
    found = await letters.list()
    await letters.drop(found[0].letter.tag)

    async def as_before(**_):
        return found

    monkeypatch.setattr(letters, "list", as_before)  # somebody drops one while we look
    assert await letters.replay_all() == 2


async def test_retries_grow_up_to_their_limit(broker):
    delays = []

    class Slow:
        lease = 10.0

        async def retry(self, _, *, delay):
            delays.append(delay)

    consumer = Consumer(Slow(), "mail", {"t": None}, max_attempts=99, retry_delay=2, retry_max=60)
    for attempt in range(1, 8):
        delivery = type("Delivery", (), {"attempt": attempt})
        await consumer._failed(delivery, KeyError())()
    await consumer._failed(type("D", (), {"attempt": 1}), UnavailableError("x", retry_after=90))()
    assert delays == [2, 4, 8, 16, 32, 60, 60, 90]
    await consumer._failed(type("D", (), {"attempt": 1}), UnavailableError("x", retry_after=1e9))()
    assert delays[-1] == 86400


async def test_a_refusal_is_waited_out_a_day_at_most(broker):
    released = []

    class Slow:
        lease = 10.0

        async def release(self, _, *, delay):
            released.append(delay)

        async def dead(self, _, *, reason):
            raise AssertionError(reason)

    for asked in (None, 0.5, 1e9):

        async def refuse(call, proceed, asked=asked):
            raise RateLimitedError(
                "no", call=call, policy="p", measured=2, threshold=1, retry_after=asked
            )

        consumer = Consumer(Slow(), "mail", {"order.created": None}, pipeline=Pipeline(refuse))
        body = event().to_json()
        delivery = Delivery(Message("1", "order.created", body), "mail", 1, 1, 1, 1)
        await consumer._handle(delivery)
    assert released == [1.0, 0.5, 86400]


async def test_a_policy_by_itself_is_no_pipeline(broker):
    with pytest.raises(ConfigurationError, match="queue mail: pipeline must be a Pipeline"):
        Consumer(broker, "mail", {"t": None}, pipeline=Timeout(1.0))


async def test_a_refusal_of_the_message_never_counts_as_an_attempt(broker, run):
    refusals, handled = 0, []

    async def limiter(call, proceed):
        nonlocal refusals
        if refusals < 10:
            refusals += 1
            raise RateLimitedError(
                "slow down", call=call, policy="limiter", measured=1, threshold=1, retry_after=0.001
            )
        return await proceed(call)

    async def handle(_):
        handled.append(current_call().attempt)

    await run(handle, event(), pipeline=Pipeline(limiter), max_attempts=2)
    await settled(broker)
    assert handled == [1]
    assert await broker.dead_letters("mail") == []


async def test_a_refusal_of_a_call_that_the_handler_made_is_a_failed_attempt(broker, run):
    async def handle(_):
        other = object()
        raise RateLimitedError("down", call=other, policy="limiter", measured=1, threshold=1)

    await run(handle, event(), max_attempts=2)
    await settled(broker)
    (dead,) = await broker.dead_letters("mail")
    assert dead.attempts == 2


async def test_what_is_running_at_the_end_of_the_grace_goes_back_uncounted(broker, run):
    begun, ended = asyncio.Event(), []

    async def handle(_):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    consumer = await run(handle, event())
    await begun.wait()
    await consumer.stop(0.0)
    assert ended
    (delivery,) = await broker.receive("mail", 10)
    assert (delivery.attempt, delivery.deliveries) == (1, 1)
    await broker.ack(delivery)


async def test_a_stop_that_is_cancelled_gives_back_at_once(broker, run):
    begun = asyncio.Event()

    async def handle(_):
        begun.set()
        await asyncio.Event().wait()

    consumer = await run(handle, event())
    await begun.wait()
    stopping = asyncio.create_task(consumer.stop(1000.0))
    await asyncio.sleep(0.01)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    (delivery,) = await broker.receive("mail", 10)
    assert (delivery.attempt, delivery.deliveries) == (1, 1)
    await broker.ack(delivery)


async def test_stop_lets_running_handlers_end(broker, run):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handle(_):
        begun.set()
        await go_on.wait()

    consumer = await run(handle, event())
    await begun.wait()
    stopping = asyncio.create_task(consumer.stop(5.0))
    await asyncio.sleep(0.01)
    go_on.set()
    await stopping
    assert await broker.depths() == {"mail": (0, 0)}


async def test_a_cancellation_that_is_the_handlers_own_is_a_failed_attempt(broker, run):
    async def handle(_):
        task = asyncio.create_task(asyncio.sleep(10))
        await asyncio.sleep(0)
        task.cancel()
        await task

    await run(handle, event(), max_attempts=2)
    await settled(broker)
    (dead,) = await broker.dead_letters("mail")
    assert dead.reason == "CancelledError"


async def test_what_cannot_be_read_or_has_no_handler_is_a_dead_letter(broker, run):
    async def handle(_):
        raise AssertionError

    await broker.declare("mail", ["order.*", "mail.*"])
    await broker.publish([Message("1", "order.x", b"\xff"), message(event("2", type_="mail.sent"))])
    await run(handle)
    await settled(broker)
    first, second = await DeadLetters(broker, "mail").list()
    assert first.event is None
    assert second.letter.reason == "no handler for mail.sent"


async def test_a_message_that_kills_its_consumers_is_a_dead_letter_in_the_end(broker, run):
    await broker.declare("mail", ["order.*"])
    await broker.publish([message(event())])
    handled = []
    broker.lease = 0.0
    for _ in range(4):
        assert await broker.receive("mail", 1)
    broker.lease = 15.0

    async def handle(_):
        handled.append(True)

    await run(handle, max_attempts=4, max_deliveries=4)
    await settled(broker)
    (dead,) = await broker.dead_letters("mail")
    assert "never settled" in dead.reason
    assert not handled


async def test_poison_does_not_hold_up_others(broker, run):
    handled = []

    async def handle(each):
        if each.subject == "poison":
            raise KeyError
        handled.append(each.id)

    events = [event(str(n), "poison" if n % 10 == 0 else f"s{n}") for n in range(50)]
    await run(handle, *events, max_attempts=3, ordered=True)
    await settled(broker)
    assert len(handled) == 45
    assert len(await broker.dead_letters("mail")) == 5


async def test_an_ordered_queue_keeps_each_subjects_order_under_failures(broker, run):
    handled: dict[str, list[int]] = {}
    failures = {"3": 2, "7": 1, "12": 3}
    running = set()

    async def handle(each):
        assert each.subject not in running
        running.add(each.subject)
        await asyncio.sleep(0)
        running.discard(each.subject)
        if failures.get(each.id, 0):
            failures[each.id] -= 1
            raise KeyError
        handled.setdefault(each.subject, []).append(int(each.id))

    await run(handle, *(event(str(n), f"s{n % 4}") for n in range(24)), ordered=True)
    await settled(broker)
    assert handled == {f"s{k}": list(range(k, 24, 4)) for k in range(4)}


async def test_at_most_so_many_handlers_run_at_once(broker, run):
    running, most = 0, 0

    async def handle(_):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    await run(handle, *(event(str(n)) for n in range(20)), concurrency=3)
    await settled(broker)
    assert most == 3


async def test_a_long_handler_keeps_its_lease(broker, run):
    broker.lease = 0.05
    begun = []

    async def handle(_):
        begun.append(True)
        await asyncio.sleep(0.2)

    await run(handle, event())
    await settled(broker)
    assert begun == [True]


async def test_a_broker_that_comes_back_is_used_again(broker, run, monkeypatch):
    handled, receive, failures = [], broker.receive, [UnavailableError("away")]

    async def flaky(*args, **options):
        if failures:
            raise failures.pop()
        return await receive(*args, **options)

    monkeypatch.setattr(broker, "receive", flaky)

    async def handle(each):
        handled.append(each.id)

    consumer = await run(handle, event())
    await until(lambda: not failures)
    consumer._fetching.wake()
    await until(lambda: handled)


async def test_what_cannot_work_is_refused_at_construction(broker):
    class NeedsPrincipal:
        traits = Trait.NEEDS_PRINCIPAL

        async def __call__(self, call, proceed):
            return await proceed(call)

    for options, text in (
        ({"handlers": {}}, "handlers"),
        ({"concurrency": 0}, "concurrency"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"retry_delay": 0}, "retry_delay"),
        ({"pipeline": Pipeline(NeedsPrincipal())}, "principal"),
    ):
        handlers = options.pop("handlers", {"t": None})
        with pytest.raises((ConfigurationError, ValueError), match=text):
            Consumer(broker, "mail", handlers, **options)
