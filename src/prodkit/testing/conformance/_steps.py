"""How checks run: step by step, each judged only where time passed as the step says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from prodkit.testing.conformance._expect import Advance

Step: TypeAlias = Callable[[Advance], Awaitable[None]]
#: Seconds. By so much a step may be late in all; its waits leave at least twice as much.
_LATE = 0.05
_TRIES = 20


async def run(steps: Sequence[Step], advance: Advance, *, concurrently: bool) -> None:
    """Run `steps`, which share no key; raises AssertionError for the first broken promise."""
    if not concurrently:
        for step in steps:
            await _judged(step, advance)
        return
    tasks = [asyncio.ensure_future(_judged(step, advance)) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _judged(step: Step, advance: Advance) -> None:
    """Run `step`, anew where it failed and was late: then a lease had ended before it was tried.

    Nothing is late where tests move the clock, so there a step runs once.
    """
    for left in reversed(range(_TRIES)):
        watch = _Watch(advance)
        try:
            await step(watch.advance)
        except AssertionError as error:
            late = watch.late
            if late <= _LATE:
                raise
            if not left:
                error.add_note(f"{_TRIES} times it was late, lastly by {late:.3f} s")
                raise
        else:
            return


class _Watch:
    """Tells how much longer a step took than it meant to."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._time = asyncio.get_running_loop().time
        self._due = self._time()

    async def advance(self, seconds: float) -> None:
        self._due += seconds
        await self._advance(seconds)

    @property
    def late(self) -> float:
        return self._time() - self._due
