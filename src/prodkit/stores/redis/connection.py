"""The one connection of a process to Redis: always one, and one that answers in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Self

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.holding import check_nothing_held
from prodkit.stores.redis.address import parse
from prodkit.stores.redis.command import Word, pack
from prodkit.stores.redis.link import Link
from prodkit.stores.redis.replies import Refusal, away, failure
from prodkit.stores.redis.wire import Reply, Waiter


class RedisConnection:
    """Sends the commands that are issued in one turn of the event loop as one batch, on one socket.

        redis = RedisConnection("redis://localhost:6379/0")
        service = Service(..., resources=[redis], checks=[Check("redis", redis.ping)])

    What a client spends on a command is mostly the system calls and the loop's turns around it, and
    a batch shares them; nor is there a pool to size. Hence no command that blocks (BLPOP) and no
    MULTI: what belongs together is a script. Callers may be cancelled and disturb nobody.

    A command fails with UnavailableError after `timeout` seconds (0.1: as long as a limiter may
    keep a request waiting; who can be more patient has a connection of its own). Whether it took
    effect is unknown then, and so it is for all that were under way when a connection is lost. If
    Redis answered nothing for that long, the connection is closed and a new one made, at growing
    intervals up to a second, each try given `connect_timeout`; meanwhile commands fail at once. A
    connection that Redis closed is replaced at once, and commands wait for that, `timeout` at most.

    Replies by which Redis says that it cannot serve now (LOADING, READONLY, OOM...) are
    UnavailableErrors too, and READONLY makes a new connection; others are CommandErrors. With
    `max_pending` commands under way more fail at once: they would time out in so long a queue.

    It is a component of a service. `start` raises what is wrong: ConfigurationError where Redis
    does not let us in, UnavailableError where it is away; with `required=False` the service starts
    without a Redis that is away, which is found when it comes. `parse` says what stands in the URL.
    It speaks to one server, the primary: redirections of a cluster are not followed.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float | timedelta = 0.1,
        connect_timeout: float | timedelta = 1.0,
        max_pending: int = 100_000,
        required: bool = True,
        name: str = "redis",
    ) -> None:
        self.name = name
        self._address = parse(url)
        self._timeout = seconds("timeout", timeout)
        self._link = Link(
            self._address,
            timeout=self._timeout,
            connect_timeout=seconds("connect_timeout", connect_timeout),
        )
        if type(max_pending) is not int or max_pending < 1:
            raise ConfigurationError(
                f"max_pending must be a whole number from 1 on, not {max_pending!r}"
            )
        self._max_pending = max_pending
        self._required = required
        self._keeper: asyncio.Task[None] | None = None

    @property
    def timeout(self) -> float:
        """The seconds that a command may take."""
        return self._timeout

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._link.made

    async def execute(self, *words: Word) -> Reply:
        """Send one command; return its reply, texts as bytes.

        Raises UnavailableError, and CommandError where Redis refused the command.
        """
        reply = await self.ask(pack(words))
        if type(reply) is Refusal:
            raise self.failed(reply)
        return reply

    def ask(self, packed: bytes) -> Waiter:
        """Send a packed command at the end of this turn; return what will be its reply or Refusal.

        Whoever asks awaits it. Raises UnavailableError, and HeldConnectionError in a transaction.
        """
        check_nothing_held(self.name)
        wire = self._link.wire
        if wire is None:
            raise away(self._link.why)
        if wire.pending >= self._max_pending:
            raise away(f"has {self._max_pending} commands under way, and gets no more")
        return wire.ask(packed)

    def failed(self, refusal: Refusal) -> Exception:
        """Return the error that `refusal` means; look for the primary if it is elsewhere."""
        if refusal.moved and self._link.wire is not None:
            self._link.wire.cut(f"cannot serve: {refusal.word}")
        return failure(refusal)

    async def ping(self) -> None:
        """Return if Redis serves, for a health check; raises UnavailableError if it does not."""
        await self.execute("PING")

    async def start(self) -> None:
        """Connect, and stay connected from now on."""
        if self._keeper is not None:
            return
        wire = None
        try:
            wire = await self._link.connect()
        except UnavailableError as error:
            if self._required:
                raise
            self._link.why = error.message.removeprefix("Redis ")
        self._keeper = asyncio.create_task(self._link.keep(wire), name=f"{self.name} connection")

    async def stop(self, grace: float) -> None:
        """Wait for the answers under way, `grace` seconds at most, then close."""
        if self._link.wire is not None:
            await self._link.wire.settle(grace)
        await self.aclose()

    async def aclose(self) -> None:
        """Close, and await that; commands under way and to come fail. It may be started again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})
        await self._link.close("is not connected: the connection was closed")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = self._address.path or f"{self._address.host}:{self._address.port}"
        return f"RedisConnection({self.name!r}, {where}, database {self._address.db})"
