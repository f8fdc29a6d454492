"""What retries go through: a dependency that stays down, callers that leave, time that runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from benchmarks.behaviour.retry_peers import SUBJECTS, Retrying
from benchmarks.behaviour.scenario import Found, Scenario, turns
from benchmarks.behaviour.world import World

Make = Callable[..., Retrying | None]
REQUESTS = 1000
SECONDS = 5
TIERS = 3


class Leaf:
    """The last in the chain: down, and counting the attempts that reach it."""

    def __init__(self, takes: float = 0.0) -> None:
        self.begun: list[float] = []
        self.takes = takes

    async def __call__(self) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes)
        raise ConnectionError("down")


async def storm(world: World, make: Make) -> Found:
    leaf = Leaf()

    async def work() -> None:
        await leaf()

    for _ in range(TIERS):
        retrying = make(world)
        assert retrying is not None
        work = retrying(work)

    async def request() -> None:
        with suppress(Exception):
            await work()

    requests = []
    for _ in range(REQUESTS):
        requests.append(asyncio.create_task(request()))
        await asyncio.sleep(SECONDS / REQUESTS)
    await asyncio.gather(*requests)
    each = len(leaf.begun) / REQUESTS
    return Found(f"{each:.2f}", len(leaf.begun) <= 1.2 * REQUESTS + 10 * (SECONDS + 1))


async def caller_leaves(world: World, make: Make) -> Found:
    late = stayed = 0
    for moment in (0.2, 0.55):  # in an attempt; in the wait before the next
        leaf = Leaf(takes=0.5)

        async def work(leaf: Leaf = leaf) -> None:
            await leaf()

        retrying = make(world, wait=0.1)
        assert retrying is not None
        caller = asyncio.create_task(_plainly(retrying(work)))
        await asyncio.sleep(moment)
        caller.cancel()
        await turns()
        begun = len(leaf.begun)
        stayed += not caller.done()
        await asyncio.sleep(10)
        late += len(leaf.begun) - begun
        await asyncio.gather(caller, return_exceptions=True)
    return Found(f"{late}", late == 0 and stayed == 0)


async def _plainly(work: Callable[[], object]) -> None:
    await work()  # type: ignore[misc]


async def deadline_first(world: World, make: Make) -> Found:
    leaf = Leaf(takes=0.4)

    async def work() -> None:
        await leaf()

    retrying = make(world, deadline=1.0, wait=0.7)
    assert retrying is not None
    began = world.monotonic()
    with suppress(Exception):
        await retrying(work)()
    took = world.monotonic() - began
    await asyncio.sleep(10)
    late = sum(begun >= began + 1.0 for begun in leaf.begun)
    return Found(f"{late}, answer after {took:.1f} s", late == 0 and took <= 1.01)


SCENARIOS: list[Scenario[Retrying]] = [
    Scenario(
        "A retry storm",
        "3 services in a row, each with 3 attempts, the last dependency down: at most 1.26 calls "
        "of it a request (a fifth more than there are requests, and 10 a second)",
        "Gateway, orders, payments: each team added three attempts, which is sensible. The payment "
        "provider goes down, and now gets 27 calls for each purchase. It cannot come back under "
        "that; when it tries, it is knocked over. Two things help: a budget (retries are a share "
        "of the traffic, not a multiple of it), and that only the hop next to the failure repeats. "
        "(1,000 requests in five seconds; the figure is calls a request. The bound is the budget "
        "that Finagle made known, and prodkit's default.)",
        SUBJECTS,
        storm,
    ),
    Scenario(
        "A retry whose caller has left",
        "0 attempts begin after the caller was cancelled, in an attempt or in a wait",
        "The user hung up, the server cancels the handler. A retry that takes CancelledError for a "
        "failure works on for nobody, and at shutdown the process does not end.",
        SUBJECTS,
        caller_leaves,
    ),
    Scenario(
        "A retry past the deadline",
        "with a second in all, 0 attempts begin after it; the answer is there by then",
        "The caller waits one second, then its own caller times out. The first attempt failed "
        "after 0.4 s, and the wait before the next is 0.7 s: it can only come too late. To sleep "
        "first and notice then holds a connection for nothing; to try once more is load "
        "that nobody reads the answer of.",
        SUBJECTS,
        deadline_first,
    ),
]
