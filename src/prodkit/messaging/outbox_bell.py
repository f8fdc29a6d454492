"""The bell: tells the relays of other processes that an outbox has got something new."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
from asyncpg.exceptions import InterfaceError, PostgresError

from prodkit.clock import Clock
from prodkit.data.database.postgres_server import Server
from prodkit.data.tasks import Wakeable, end
from prodkit.errors import UnavailableError

_CHANNEL = "prodkit_outbox"
#: Seconds: a dead connection is found out by then, and a new one tried after so many.
_HEARTBEAT = 30.0
_AGAIN = 1.0


class OutboxBell:
    """Hears and rings over PostgreSQL's LISTEN and NOTIFY, on a connection of its own.

    It rings after the commit, and not in the transaction: a NOTIFY there costs each one a round
    trip, and the server takes their commits one by one. Commits that come while it rings share the
    next ring. Whatever is lost on the way is found by polling.
    """

    def __init__(self, server: Server, heard: Callable[[], None], *, clock: Clock) -> None:
        self._server = server
        self._heard = heard
        self._clock = clock
        self._wanted = Wakeable(clock)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._task = asyncio.create_task(self._run(), name="outbox bell")

    async def stop(self) -> None:
        """Hear and ring no more."""
        if self._task is not None:
            await end({self._task}, 0.0)

    def ring(self) -> None:
        """Wake the others, soon."""
        self._wanted.wake()

    async def _run(self) -> None:
        while True:
            # Lost, or not to be had: the relays poll meanwhile.
            with suppress(UnavailableError, PostgresError, InterfaceError, OSError):
                await self._listen(await self._server.connect())
            await self._clock.sleep(_AGAIN)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        own = connection.get_server_pid()

        def hear(_connection: Any, pid: int, _channel: str, _payload: object) -> None:
            if pid != own:
                self._heard()

        try:
            connection.add_termination_listener(lambda _: self._wanted.wake())
            await connection.add_listener(_CHANNEL, hear)
            self._heard()  # of what was committed while nobody listened
            while True:
                await self._wanted.pause(_HEARTBEAT)
                await connection.execute(f"NOTIFY {_CHANNEL}")
        finally:
            connection.terminate()
