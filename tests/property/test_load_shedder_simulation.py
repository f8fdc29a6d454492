"""A server of known capacity behind a shedder, by seed: what gets through, how late."""

from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from statistics import mean

import pytest

from prodkit import Call, Pipeline
from prodkit.clock import SystemClock
from prodkit.errors import OverloadedError
from prodkit.policies.load_shedder import LoadShedder, Priority

SEEDS = [1, 2, 3]


class Parked:
    """Where a call stands while the server works for it; no event loop is needed to wait here."""

    def __await__(self):
        yield self


@dataclass
class Server(SystemClock):
    """`places` calls are served at once, for `service` seconds on average, the rest queues.

    It is the clock too: time is a heap of events.
    """

    random: Random
    places: int = 20
    service: float = 0.05
    now: float = 0.0
    events: list = field(default_factory=list)
    order: count = field(default_factory=count)
    busy: int = 0
    queue: deque = field(default_factory=deque)
    done: list = field(default_factory=list)  # (when it ended, how long it took, priority)
    shed: list = field(default_factory=list)  # (when, priority)
    peak: int = 0

    def monotonic(self):
        return self.now

    def call_later(self, seconds, callback):
        heappush(self.events, (self.now + seconds, next(self.order), callback))
        return self

    def cancel(self):
        raise AssertionError("nothing is called off here")

    def protect(self):
        self.shedder = LoadShedder(clock=self, priority=lambda call: call.metadata["priority"])
        self.handler = Pipeline(self.shedder).bind(self.leaf)

    async def leaf(self, call):
        await Parked()

    def arrives(self, priority=Priority.DEFAULT):
        run = self.handler(Call("op", metadata={"priority": priority}))
        try:
            run.send(None)
        except OverloadedError:
            self.shed.append((self.now, priority))
            return
        self.peak = max(self.peak, self.shedder.in_flight)
        self.queue.append((run, self.now, priority))
        self.serve()

    def serve(self):
        while self.queue and self.busy < self.places:
            run, since, priority = self.queue.popleft()
            self.busy += 1
            took = self.random.gammavariate(4, self.service / 4)
            self.call_later(took, lambda r=run, s=since, p=priority: self.ends(r, s, p))

    def ends(self, run, since, priority):
        self.busy -= 1
        with suppress(StopIteration):
            run.send(None)
        self.done.append((self.now, self.now - since, priority))
        self.serve()

    def load(self, rate, seconds, priorities=(Priority.DEFAULT,)):
        """Let calls come at `rate` a second, as independent callers do, for `seconds`."""
        end = self.now + seconds
        following = self.now + self.random.expovariate(rate)
        while following < end:
            self.run_until(following)
            self.arrives(self.random.choice(priorities))
            following += self.random.expovariate(rate)
        self.run_until(end)

    def run_until(self, end):
        while self.events and self.events[0][0] <= end:
            self.now, _, callback = heappop(self.events)
            callback()
        self.now = end

    def goodput(self, since, until):
        return sum(since <= at < until for at, _, _ in self.done) / (until - since)

    def latency(self, since, until):
        return mean(took for at, took, _ in self.done if since <= at < until)

    @property
    def capacity(self):
        return self.places / self.service


@pytest.fixture(params=SEEDS)
def server(request):
    server = Server(Random(request.param))
    server.protect()
    return server


def check(server, since, seconds, *, latency):
    """What gets through in the seconds since then is what it can do, and not much later."""
    until = since + seconds
    assert server.goodput(since, until) >= 0.9 * server.capacity
    assert server.latency(since, until) <= latency * server.service


def test_what_it_can_do_is_done_whole(server):
    server.load(0.7 * server.capacity, 20)
    assert not server.shed
    assert server.latency(0, 20) <= 1.2 * server.service


def test_twice_the_capacity_then_half_of_it_lost_and_found_again(server):
    server.load(200, 5)
    server.load(800, 20)
    check(server, 5, 20, latency=2.5)
    server.places = 10
    server.load(800, 20)
    check(server, 25, 3, latency=4)  # the queue was for twice the places
    check(server, 28, 17, latency=3.5)
    server.places = 20
    server.load(800, 15)
    check(server, 45, 5, latency=3)
    check(server, 50, 10, latency=3)


def test_slower_work_is_learned_to_be_what_it_takes(server):
    server.load(800, 10)
    server.service = 0.1
    server.load(800, 60)
    check(server, 40, 30, latency=2.5)
    assert server.shedder._limit.baseline == pytest.approx(0.1, rel=0.35)


def test_latency_does_not_creep_up_in_a_lasting_overload(server):
    server.load(800, 150)
    check(server, 120, 30, latency=3)
    assert server.shedder._limit.baseline == pytest.approx(0.05, rel=0.6)


def test_who_matters_more_is_refused_less(server):
    server.load(800, 15, priorities=list(Priority)[:3])
    served = Counter(priority for at, _, priority in server.done if at > 5)
    shed = Counter(priority for at, priority in server.shed if at > 5)

    def share(priority):
        return shed[priority] / (shed[priority] + served[priority])

    shares = [share(p) for p in (Priority.CRITICAL, Priority.DEFAULT, Priority.SHEDDABLE)]
    assert shares == sorted(shares)
    assert share(Priority.CRITICAL) < 0.1
    assert share(Priority.SHEDDABLE) > 0.9


def test_however_bad_it_gets_the_floor_gets_through_and_it_recovers(server):
    server.load(400, 5)
    server.service, server.places = 5.0, 1
    server.load(400, 30)
    assert server.shedder.limit >= 10
    server.service, server.places = 0.05, 20
    server.load(400, 150)
    check(server, 170, 15, latency=3)
