"""One connection to RabbitMQ that comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

import aiormq
from aiormq import Channel, Connection
from aiormq.exceptions import InvalidFrameError

from prodkit.errors import ConfigurationError, ServiceError, UnavailableError
from prodkit.transports.amqp.address import Address
from prodkit.transports.amqp.failures import AWAY, away, failure, quietly

_PAUSE_INITIAL = 0.1
_PAUSE_MAX = 1.0
_OPEN_OK = "Connection.OpenOk"
_log = logging.getLogger("prodkit.amqp")


class Link:
    """Keeps a connection: one that is lost, or was cut, is replaced at growing intervals.

    Heartbeats find a peer that fell silent within 3 * (`heartbeat` + 1) seconds; whoever waited for
    an answer in vain says `cut` earlier. Every operation has `timeout` seconds.
    """

    def __init__(self, address: Address, name: str, *, timeout: float, heartbeat: int) -> None:
        self.timeout = timeout
        self.up = asyncio.Event()
        self._address = address
        self._name = name
        self._heartbeat = heartbeat
        self._connection: Connection | None = None
        self._why = f"at {address} is not connected"
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self, *, required: bool) -> None:
        """Connect, and stay connected. Raises ConfigurationError, and UnavailableError.

        Where it is not `required`, a RabbitMQ that is away is waited for in the background.
        """
        if self._keeper is not None:
            return
        connection = None
        try:
            connection = await self._connect()
        except UnavailableError as error:
            if required:
                raise
            self._why = _said(error)
        self._keeper = asyncio.create_task(self._keep(connection), name=f"{self._name} link")
        await asyncio.sleep(0)  # it has the connection now

    async def stop(self) -> None:
        """Close, and await that; it may be started again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})
        self.cut("was closed")
        if self._closing:
            await asyncio.wait(self._closing)

    async def channel(self, *, confirms: bool) -> Channel:
        """Open a channel. Raises UnavailableError."""
        connection = self._connection
        if connection is None or connection.is_closed:
            raise away(self._why)
        async with self.asking("open a channel"):
            channel = await connection.channel(publisher_confirms=confirms)
        assert isinstance(channel, Channel)
        return channel

    @asynccontextmanager
    async def asking(self, doing: str) -> AsyncIterator[None]:
        """Give what is asked in it `timeout` seconds, and its failures the service's names.

        Raises UnavailableError, UnroutableError and FailedPreconditionError.
        """
        with self.naming(doing):
            async with asyncio.timeout(self.timeout):
                yield

    def naming(self, doing: str) -> Naming:
        """Give the failures of what is asked in it their names; it sees to its time itself."""
        return Naming(self, self._connection, doing)

    def cut(self, why: str, connection: Connection | None = None) -> None:
        """Give the connection up, and make a new one."""
        doomed = connection or self._connection
        if doomed is None or doomed is not self._connection:
            return
        self._connection = None
        self._why = f"at {self._address} {why}"
        self.up.clear()
        self._lost.set()
        task = asyncio.create_task(quietly(_close(doomed, self.timeout)))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _keep(self, connection: Connection | None) -> None:
        while True:
            if connection is None:
                connection = await self._again()
                _log.info("RabbitMQ at %s: %s is connected again", self._address, self._name)
            self._connection = connection
            self._lost.clear()
            self.up.set()
            await self._until_lost(connection)
            _log.warning("RabbitMQ %s: %s connects again", self._why, self._name)
            connection = None

    async def _until_lost(self, connection: Connection) -> None:
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({connection.closing, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        self.cut("was lost", connection)

    async def _again(self) -> Connection:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._connect()
            except (ConfigurationError, UnavailableError) as error:
                # While it boots it refuses also those whom it will know.
                self._why = _said(error)
                pause = min(_PAUSE_MAX, max(_PAUSE_INITIAL, pause * 2))

    async def _connect(self) -> Connection:
        connection = Connection(self._address.named(self._name, self._heartbeat))
        try:
            async with asyncio.timeout(self.timeout):
                await connection.connect()
        except (*AWAY, TimeoutError) as error:
            await quietly(_close(connection, self.timeout))
            raise self._refusal(error) from None  # the driver's errors may show the URL
        except BaseException:
            await quietly(_close(connection, self.timeout))
            raise
        return connection

    def _refusal(self, error: BaseException) -> Exception:
        user, where = self._address.user, self._address
        if isinstance(error, aiormq.ProbableAuthenticationError | aiormq.AuthenticationError):
            return ConfigurationError(f"RabbitMQ at {where} refuses user {user!r} or the password")
        if isinstance(error, InvalidFrameError) and _OPEN_OK in str(error):
            return ConfigurationError(
                f"RabbitMQ at {where} does not open the virtual host {self._address.vhost!r} for"
                f" user {user!r}: it is missing, forbidden, or down"
            )
        if isinstance(error, TimeoutError):
            return away(f"at {where} did not let us in within {self.timeout:g} s")
        return away(f"at {where} cannot be reached: {type(error).__name__}")


class Naming:
    """Raises what goes wrong as errors of the service, and cuts a connection that is silent."""

    __slots__ = ("_connection", "_doing", "_link")

    def __init__(self, link: Link, connection: Connection | None, doing: str) -> None:
        self._link = link
        self._connection = connection
        self._doing = doing

    def __enter__(self) -> None:
        """Begin; the connection that counts is the one of now."""

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Raise UnavailableError, UnroutableError and FailedPreconditionError."""
        if isinstance(error, TimeoutError):
            self._link.cut("did not answer in time", self._connection)
        elif isinstance(error, ServiceError) or not isinstance(error, AWAY):
            return
        raise failure(error, self._doing) from error


def _said(error: Exception) -> str:
    notes: list[str] = getattr(error, "__notes__", [str(error)])
    return notes[0].removeprefix("RabbitMQ ")


async def _close(connection: Connection, within: float) -> None:
    async with asyncio.timeout(within):
        await connection.close()
