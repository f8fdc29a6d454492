"""What a scenario is, and what was found when a library went through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from benchmarks.behaviour.world import StandstillError, World
from benchmarks.peers import is_peer

P = TypeVar("P")


@dataclass(frozen=True)
class Found:
    """A count, and whether it is what it has to be; `ok` None: the library claims no such thing."""

    count: str
    ok: bool | None

    def __str__(self) -> str:
        verdict = {True: "ok", False: "NOT OK", None: ""}[self.ok]
        return f"{self.count} {verdict}".strip()


NOT_CLAIMED = Found("-", None)
NOT_INSTALLED = Found("not installed", None)


@dataclass(frozen=True)
class Subject(Generic[P]):
    """A library in one of its forms; `make` builds what a scenario needs of it.

    `make` imports the library, and returns None where it does not claim to do what is asked.
    """

    name: str
    make: Callable[..., P | None]


@dataclass(frozen=True)
class Scenario(Generic[P]):
    """What happens, what must hold, and what it means at three in the morning."""

    title: str
    must: str
    story: str
    subjects: Sequence[Subject[P]]
    play: Callable[[World, Callable[..., P | None]], Awaitable[Found]]

    def of(self, subject: Subject[P]) -> Found:
        """Return what `subject` does, in a world of its own."""
        world = World()
        try:
            subject.make(World())  # imported before the clocks are replaced
        except ModuleNotFoundError as error:
            if not is_peer(error):
                raise
            return NOT_INSTALLED
        except RuntimeError:  # it wants a running loop: imported all the same
            pass
        try:
            return world.run(lambda world: self.play(world, subject.make))
        except StandstillError:
            return Found("stands still for ever", False)


async def turns(count: int = 20) -> None:
    """Let the other tasks get on; no time passes."""
    from asyncio import sleep

    for _ in range(count):
        await sleep(0)
