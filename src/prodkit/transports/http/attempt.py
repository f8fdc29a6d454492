"""The attempts of one request, one after the other or side by side, and what they leave open."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self

import httpx2

from prodkit.call import Call


class Attempt:
    """What a call carries: its request, and the responses that are still open, of all its forks."""

    __slots__ = ("_before", "_opened", "request", "response")

    def __init__(
        self,
        request: httpx2.Request,
        before: Attempt | None = None,
        opened: list[httpx2.Response] | None = None,
    ) -> None:
        self.request = request
        self.response: httpx2.Response | None = None  # of the attempt before, on this very call
        self._before = before
        self._opened: list[httpx2.Response] = [] if opened is None else opened

    def fork(self) -> Attempt:
        """Return one for an attempt beside others: their headers and time-outs differ."""
        request = self.request
        twin = httpx2.Request(
            request.method,
            request.url,
            headers=request.headers.copy(),
            stream=request.stream,
            extensions=request.extensions,
        )
        return Attempt(twin, self, self._opened)

    def opened(self, response: httpx2.Response) -> None:
        """Remember what has to be closed if nobody will read it."""
        self.response = response
        self._opened.append(response)

    async def begin(self) -> None:
        """Give back the connection of the attempt before, whose answer was not good enough."""
        before = None if self._before is None else self._before.response
        await self._close([r for r in self._opened if r is self.response or r is before])
        self.response = None

    async def end(self, kept: httpx2.Response | None = None) -> None:
        """Give back the connections of all attempts but the one whose answer is `kept`."""
        await self._close([r for r in self._opened if r is not kept])

    async def _close(self, responses: list[httpx2.Response]) -> None:
        still_open = [response for response in responses if not response.is_closed]
        if not still_open:
            return
        async with AsyncExitStack() as stack:  # one that fails, or is cancelled, spares no other
            for response in still_open:
                stack.push_async_callback(response.aclose)


class HttpCall(Call):
    """A call whose forks have a request of their own to write to."""

    __slots__ = ()

    def fork(self) -> Self:
        """Return a twin for an attempt that runs beside others."""
        twin = super().fork()
        twin.payload = self.payload.fork()
        twin.metadata = twin.payload.request.headers
        return twin
