"""Keeps a wire to Redis up: connects, greets, and connects again, at growing intervals."""

from __future__ import annotations

import asyncio
import os
from random import random
from ssl import SSLError

from prodkit.errors import UnavailableError
from prodkit.stores.redis.address import Address
from prodkit.stores.redis.command import pack
from prodkit.stores.redis.replies import Refusal, away, greeting_failure
from prodkit.stores.redis.wire import Wire

#: Seconds between two tries to connect: the first, and the longest.
_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class Link:
    """Has a `wire` that takes commands, or none: then Redis is away, and `why` says how.

    A wire that takes commands is not always connected. When Redis closes a connection, after a
    restart or because it was idle, the next one collects what is asked while it is being made.
    """

    def __init__(self, address: Address, *, timeout: float, connect_timeout: float) -> None:
        self.wire: Wire | None = None
        self.why = "is not connected: the connection was not started"
        self.made = 0
        self._address = address
        self._timeout = timeout
        self._connect_timeout = connect_timeout

    async def connect(self) -> Wire:
        """Make a connection that serves.

        Raises UnavailableError, and ConfigurationError where Redis does not let us in.
        """
        hopeful, wire = self.wire is not None, self.wire or self._new()
        within = min(self._timeout, self._connect_timeout) if hopeful else self._connect_timeout
        try:
            async with asyncio.timeout(within):
                await self._address.open(lambda: wire)
                await _greet(self._address, wire)
            wire.release()
        except TimeoutError:
            raise _given_up(wire, f"did not let us in within {within:g} s") from None
        except OSError as error:
            raise _given_up(wire, f"cannot be reached: {_trouble(error)}") from error
        except BaseException as error:
            _given_up(wire, str(error).removeprefix("Redis "))
            raise
        self.made += 1
        self.wire = wire
        return wire

    async def keep(self, wire: Wire | None) -> None:
        """Make a new connection whenever there is none, until cancelled."""
        loop, pause = asyncio.get_running_loop(), _PAUSE
        while True:
            if wire is not None:
                began = loop.time()
                await wire.gone()
                if loop.time() - began > _LONGEST_PAUSE:
                    pause = _PAUSE
            if self.wire is None:
                await asyncio.sleep(pause * (0.5 + random() / 2))  # noqa: S311 - spreads a fleet
                pause = min(pause * 2, _LONGEST_PAUSE)
            wire = await self._try_again()

    async def _try_again(self) -> Wire | None:
        try:
            return await self.connect()
        except Exception as error:  # noqa: BLE001 - it says why, to all who ask meanwhile
            self.why = str(error).removeprefix("Redis ")
            return None

    def _new(self) -> Wire:
        return Wire(self._timeout, self._lost)

    def _lost(self, wire: Wire, why: str, served: bool) -> None:
        if self.wire is wire:
            self.why = why
            self.wire = self._new() if served else None

    async def close(self, why: str) -> None:
        """Cut what is there; whoever runs `keep` has ended it."""
        wire, self.wire, self.why = self.wire, None, why
        if wire is not None:
            wire.cut(why)
            await wire.gone()


async def _greet(address: Address, wire: Wire) -> None:
    packed = [pack(words) for words in address.greeting()]
    for reply in await wire.greet(packed):
        if isinstance(reply, Refusal):
            raise greeting_failure(reply)


def _trouble(error: OSError) -> str:
    """Return what is wrong in words without an address: strangers may read them."""
    number = 0 if isinstance(error, SSLError) else error.errno or 0
    return os.strerror(number) if number > 0 else type(error).__name__


def _given_up(wire: Wire, why: str) -> UnavailableError:
    wire.cut(why)
    return away(why)
