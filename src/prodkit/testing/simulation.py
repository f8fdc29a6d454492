"""Schedules that a seed decides, run in virtual time: thousands a second, each replayable."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterable, Mapping
from random import Random
from typing import TYPE_CHECKING, TypeVar

from prodkit.clock import TimerHandle

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

T = TypeVar("T")
#: Virtual Unix time at which every schedule begins.
_EPOCH = 1_700_000_000.0


class DeadlockError(AssertionError):
    """Nothing can happen any more, and what was run has not ended."""


class Simulation:
    """One schedule: an event loop whose time passes only when everybody waits.

    `clock` goes into policies, `random` decides what the scenario leaves open: the same `seed`
    gives the same schedule. Waiting costs nothing: when no task can run, time jumps to the next
    timer. When there is none either, `run` raises DeadlockError, which finds what hangs for ever.
    Sockets, threads and subprocesses have no place here.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)  # noqa: S311  # it decides schedules, it protects nothing
        self.clock = SimulatedClock()
        self._dead: set[str] = set()
        self._stopped: dict[str, float] = {}
        self._limbo: list[asyncio.Future[None]] = []
        self._over = False

    def run(self, scenario: Callable[[Simulation], Awaitable[T]]) -> T:
        """Return what `scenario(self)` returns; tasks that it leaves behind are cancelled."""
        loop = _VirtualLoop(self.clock)
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                return runner.run(_awaited(scenario(self)))
            finally:
                self._over = True

    async def pause(self, longest: float = 0.01) -> None:
        """Let others go first: wait for 0 to `longest` seconds, most often not at all."""
        if self.random.random() < 0.5:
            await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.random.uniform(0.0, longest))

    def kill(self, process: str) -> None:
        """Let `process` die at once: what it waits for by `reach` never comes back."""
        self._dead.add(process)

    def stop(self, process: str, seconds: float) -> None:
        """Let `process` stand still, as SIGSTOP does: what it waits for by `reach` comes later."""
        self._stopped[process] = self.clock.now + seconds

    async def reach(self, process: str, longest: float = 0.01) -> None:
        """Be on the way, for a task of `process`: wait, longer if stopped, for ever if killed.

        Put it before and after what leaves the process: its statements, its calls. No `finally`
        of the task runs when it is killed, as with kill -9; the end of the schedule sweeps it up.
        """
        if self._over:  # the sweep: nothing may hold it up
            raise asyncio.CancelledError
        await self.pause(longest)
        await asyncio.sleep(max(0.0, self._stopped.get(process, 0.0) - self.clock.now))
        if process in self._dead:
            never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._limbo.append(never)  # or the garbage collector would find the task
            await never

    def chance(self, probability: float) -> bool:
        """Say whether something happens that happens with `probability`."""
        return self.random.random() < probability


class SimulatedClock:
    """The `Clock` of one simulation."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the virtual seconds since the schedule began."""
        return self.now

    def wall(self) -> float:
        """Return virtual Unix time."""
        return _EPOCH + self.now

    async def sleep(self, seconds: float) -> None:
        """Suspend the current task; no time is spent."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` once `seconds` have passed."""
        return asyncio.get_running_loop().call_later(seconds, callback)


def simulate(
    scenario: Callable[[Simulation], Awaitable[T]], seeds: Iterable[int] = range(1000)
) -> list[T]:
    """Run `scenario` once for each seed; the failure of a schedule names the seed that replays it.

    def test_nothing_is_done_twice():
        simulate(scenario)              # a thousand schedules
        simulate(scenario, [4711])      # the one that once failed
    """
    results = []
    for seed in seeds:
        try:
            results.append(Simulation(seed).run(scenario))
        except BaseException as error:
            error.add_note(f"This was schedule {seed}; simulate(..., [{seed}]) replays it.")
            raise
    return results


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which nobody waits."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._virtual = clock
        super().__init__(_VirtualSelector(clock))

    def time(self) -> float:
        return self._virtual.now


class _VirtualSelector(selectors.BaseSelector):
    """Passes time where a real selector would wait for it."""

    def __init__(self, clock: SimulatedClock) -> None:
        self._clock = clock
        self._keys: dict[FileDescriptorLike, selectors.SelectorKey] = {}

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("every task waits, and no timer will wake one")
        self._clock.now += max(0.0, timeout)
        return []

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._keys
