"""The lifespan of a guest app: started before the first request, ended after the last one."""

from __future__ import annotations

import asyncio
from typing import Any

from prodkit.transports.asgi.body import Message


class LifespanError(RuntimeError):
    """The guest app could not start, or could not stop cleanly; its own words are the message."""


class Lifespan:
    """Runs the ASGI lifespan protocol of `app`; an app that does not know it is left alone.

    `state` is what the guest put there for its requests.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.state: dict[str, Any] = {}
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the guest; raises LifespanError if it says that it cannot."""
        self._task = asyncio.create_task(self._run(), name="lifespan")
        try:
            answer = await self._say("lifespan.startup")
        except asyncio.CancelledError:
            await self._end(cancel=True)
            raise
        if answer is None:  # it raised or returned without a word: it does not know the protocol
            await self._end()
        elif answer["type"] == "lifespan.startup.failed":
            cause = await self._end()
            raise LifespanError(answer.get("message") or "startup failed") from cause
        elif answer["type"] != "lifespan.startup.complete":
            await self._end(cancel=True)

    async def stop(self, grace: float) -> None:
        """Stop the guest within `grace` seconds, else cancel it; raises LifespanError."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(grace):
                answer = await self._say("lifespan.shutdown")
        except TimeoutError:
            await self._end(cancel=True)
            raise LifespanError(f"the shutdown took longer than {grace:.1f} s") from None
        cause = await self._end()
        if answer is None or answer["type"] == "lifespan.shutdown.failed":
            message = (answer or {}).get("message") or "shutdown failed"
            raise LifespanError(message) from cause

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        await self._app(scope, self._inbox.get, self._answers.put)

    async def _say(self, kind: str) -> Message | None:
        """Say `kind` and return the answer, or None if the guest ended without one."""
        assert self._task is not None
        self._inbox.put_nowait({"type": kind})
        answer = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            answer.cancel()

    async def _end(self, *, cancel: bool = False) -> BaseException | None:
        """Await the guest's task, and return what it raised."""
        assert self._task is not None
        task, self._task = self._task, None
        if cancel:
            task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        return outcome
