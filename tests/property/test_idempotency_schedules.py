"""Scenario 11: the history that clients see of an idempotency key, while processes are killed.

Eight clients of two processes send a few keys again and again; their statements take random time,
a process dies at any of them and comes back empty-handed, or stands still for longer than its
lease. The effect and the answer commit in one
step, as in one transaction. What the clients saw must be what a single register would have shown.
"""

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from itertools import count

import pytest

from prodkit import Call, Kind, Pipeline, Principal
from prodkit.errors import AbortedError, InvalidArgumentError
from prodkit.policies.idempotency import Idempotency, LostClaimError, current_claim
from prodkit.stores.memory import MemoryIdempotencyStore
from prodkit.testing.simulation import simulate

LEASE = 1.0
KEYS = ("k1", "k2", "k3")


class Content:
    """A codec over strings."""

    def __init__(self, content):
        self._content = content

    async def content(self):
        return self._content

    def freeze(self, result):
        return result

    def thaw(self, data):
        return data


class Table(MemoryIdempotencyStore):
    """The store that outlives the processes; what reaches it takes time, and may not come back."""

    transactional = True

    def __init__(self, sim, process, shared):
        self._sim, self._process = sim, process
        self._entries, self._ring, self.max_keys = shared._entries, shared._ring, shared.max_keys

    async def claim(self, *args, **options):
        await self._sim.reach(self._process)
        record = await super().claim(*args, **options | {"now": self._sim.clock.wall()})
        await self._sim.reach(self._process)
        return record

    async def extend(self, *args, **options):
        await self._sim.reach(self._process)
        held = await super().extend(*args, **options)
        await self._sim.reach(self._process)
        return held

    async def release(self, *args):
        await self._sim.reach(self._process)
        await super().release(*args)

    async def complete(self, *args, tx=None, **options):
        return await super().complete(*args, **options)  # one step with the effect


@dataclass
class Seen:
    """What a client saw of one request."""

    key: str
    content: bytes
    began: int  # places in the order of events: many share a reading of the clock
    ended: float  # never, of one whose answer nobody waited for
    answer: object  # bytes, or the class of an error


class History:
    """The processes, the clients, and what they saw."""

    def __init__(self, sim):
        self.sim = sim
        self.shared = MemoryIdempotencyStore()
        self.effects = []  # (key, content), committed
        self.seen = []
        self.order = count()
        self.restarts = 0
        self.processes = {}
        self.start("one")
        self.start("two")

    def start(self, name):
        self.restarts += 1
        process = f"{name} {self.restarts}"
        store = Table(self.sim, process, self.shared)
        policy = Idempotency(
            store, secret=b"sixteen bytes or more", lease=LEASE, clock=self.sim.clock
        )

        async def handler(call):
            await self.sim.reach(process, 0.4)
            if self.sim.chance(0.1):
                raise AbortedError("roll back")
            answer = b"receipt %d" % len(self.effects)
            self.effects.append((call.key, await call.codec.content()))
            try:
                await current_claim().complete("tx", answer)
            except LostClaimError:
                self.effects.pop()
                raise
            await self.sim.reach(process)
            return answer

        self.processes[name] = process, Pipeline(policy).bind(handler)

    async def client(self):
        for _ in range(6):
            await self.sim.pause(0.5)
            key = self.sim.random.choice(KEYS)
            content = b"other" if self.sim.chance(0.1) else b"same"
            process, send = self.processes[self.sim.random.choice(("one", "two"))]
            await self.request(key, content, process, send)

    async def request(self, key, content, process, send):
        call = Call("pay", Kind.SERVER, key=key, principal=Principal("ann"), codec=Content(content))
        began = next(self.order)
        sending = asyncio.create_task(send(call))
        if self.sim.chance(0.1):
            self.sim.clock.call_later(self.sim.random.uniform(0, 0.3), sending.cancel)
        done, _ = await asyncio.wait({sending}, timeout=5.0)
        if not done:  # its process died or stands still: what it asked may go on for others
            self.seen.append(Seen(key, content, began, math.inf, None))
            return
        answer = None
        if not sending.cancelled():
            answer = type(sending.exception()) if sending.exception() else sending.result()
        self.seen.append(Seen(key, content, began, next(self.order), answer))

    async def killer(self):
        for _ in range(self.sim.random.randrange(8)):
            await self.sim.pause(0.4)
            name = self.sim.random.choice(("one", "two"))
            if self.sim.chance(0.7):
                self.sim.stop(self.processes[name][0], LEASE * 2)
            else:
                self.sim.kill(self.processes[name][0])
                self.start(name)

    async def run(self):
        await asyncio.gather(*(self.client() for _ in range(8)), self.killer())
        await self.sim.clock.sleep(LEASE * 2)
        for key in KEYS:  # who comes last finds nobody in the way
            for _ in range(20):
                await self.request(key, b"same", *self.processes["one"])
                if self.seen and self.seen[-1].answer is not AbortedError:
                    break
        return self


def check(history):
    """Compare what was seen with what one register per key would have shown."""
    effects = Counter(key for key, _ in history.effects)
    assert all(count == 1 for count in effects.values()), "an effect happened twice"
    for key in KEYS:
        seen = [each for each in history.seen if each.key == key]
        answered = [each for each in seen if isinstance(each.answer, bytes)]
        assert len({each.answer for each in answered}) <= 1, "two answers for one key"
        for first in answered:
            assert history.effects[int(first.answer[8:])] == (key, first.content)
            for later in (each for each in seen if each.began >= first.ended):
                expected = first.answer if later.content == first.content else InvalidArgumentError
                assert later.answer in (expected, None) or joined(later, first, seen), later
        assert answered or any(each.answer is InvalidArgumentError for each in seen)


def joined(later, first, seen):
    """Say whether `later` may have heard, of one who asked before `first` ended, "still running".

    Requests of one process that come together ask the store once; to be told to ask again is safe.
    """
    return later.answer is AbortedError and any(
        each.began < first.ended and each.ended >= later.began for each in seen
    )


def play(seeds):
    histories = simulate(checked, seeds)
    answers = [each.answer for history in histories for each in history.seen]
    errors = Counter(each.__name__ for each in answers if isinstance(each, type))
    return histories, sum(isinstance(each, bytes) for each in answers), errors


async def checked(sim):
    history = await History(sim).run()
    check(history)
    return history


@pytest.mark.parametrize("schedules", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_11_every_history_is_that_of_one_register(schedules):
    histories, answered, errors = play(range(schedules))
    # That all of it happened shows that the schedules do race.
    assert answered > 10 * schedules
    assert errors["AbortedError"] > schedules
    assert errors["LostClaimError"] >= 0.01 * schedules
    assert errors["InvalidArgumentError"] > schedules
    assert sum(history.restarts > 2 for history in histories) > 0.2 * schedules
