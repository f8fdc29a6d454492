"""What stands behind the doors of the matrix, what their callers hear, and a plain function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prodkit import Code, Pipeline, RejectedError, ServiceError
from prodkit.errors import UnavailableError

AWAY = "AWAY"
OK = "OK"


class Work:
    """What stands behind every door: it does what the test says, and counts how often it ran."""

    def __init__(self) -> None:
        self.ran = self.cancelled = 0
        self.act: Callable[[], Any] = self.nothing
        self.held = asyncio.Event()

    async def __call__(self) -> str:
        self.ran += 1
        await self.act()
        return f"answer {self.ran}"

    async def nothing(self) -> None:
        """Go well."""

    async def away(self) -> None:
        """Fail as a dependency does that is away."""
        raise UnavailableError("stock is away", reason=AWAY)

    async def away_once(self) -> None:
        """Fail the first time."""
        if self.ran == 1:
            await self.away()

    async def hold(self) -> None:
        """Wait until the test lets go."""
        await self.held.wait()

    async def hang(self) -> None:
        """Never come to an end."""
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1

    async def hang_once(self) -> None:
        """Never come to an end the first time."""
        if self.ran == 1:
            await self.hang()


@dataclass
class Answer:
    """How one call ended: OK or a reason, the code, what was returned, what else was told."""

    outcome: str
    code: Code = Code.OK
    value: str = ""
    retry_after: float | None = None
    told: Mapping[str, str] = field(default_factory=dict)
    error: Exception | None = None


def failed(error: Exception, **told: str) -> Answer:
    """Return the answer that an exception is."""
    assert isinstance(error, ServiceError), error
    return Answer(error.reason, error.code, "", error.retry_after, told, error)


class Door:
    """What all doors have; `substitute` makes an answer of the kind that the door gives."""

    inbound = True
    substitute: Callable[[str], Any] = staticmethod(str)

    def __init__(self, work: Work) -> None:
        self.work = work

    async def open(self, pipeline: Pipeline) -> None:
        """Bind the pipeline; raises ConfigurationError for what cannot work."""

    async def ask(self, key: str | None = None) -> Answer:
        """Make one call."""
        raise NotImplementedError

    def check(self, answer: Answer, code: Code, *, refused: bool) -> None:
        """Check that the caller was told in the words of this door."""
        assert answer.code is code
        if refused:
            assert answer.retry_after is None or answer.retry_after > 0

    async def close(self) -> None:
        """Give back what `open` took."""


class Function(Door):
    """A plain async function, declared safe."""

    inbound = False

    async def open(self, pipeline: Pipeline) -> None:
        self.call = pipeline(operation="work", safe=True)(self.work.__call__)

    async def ask(self, key: str | None = None) -> Answer:
        try:
            return Answer(OK, Code.OK, await self.call())
        except ServiceError as error:
            return failed(error)

    def check(self, answer: Answer, code: Code, *, refused: bool) -> None:
        super().check(answer, code, refused=refused)
        assert isinstance(answer.error, RejectedError) is refused
