"""Where a PostgreSQL database is, and connections to it: to the one of its hosts that writes."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg

from prodkit.data.database.postgres_errors import READ_ONLY, connecting
from prodkit.data.database.postgres_options import PostgresOptions
from prodkit.errors import ConfigurationError, UnavailableError

#: What drivers and platforms write before "://" and mean PostgreSQL.
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
#: Seconds that the server gets to end a statement by itself before we hang up on it.
_GRACE = 0.25

_Host: TypeAlias = tuple[str, int]


class Server:
    """Where a database is, and how to connect to it. Its repr holds no password.

    A URL with several hosts (`postgresql://user:password@host1:port1,host2:port2/name`) means a
    primary and its standbys, in any order: connections go to the host that takes writes, the one
    that did so last is asked first, and each has `connect` seconds to answer. So after a failover
    the service goes on with the standby that was promoted. `target_session_attrs` in the URL asks
    for another kind of host. It cannot tell two hosts apart that both take writes: whoever
    promotes a standby must keep the former primary from serving.
    """

    def __init__(self, url: str, options: PostgresOptions, *, name: str) -> None:
        scheme, _, rest = url.partition("://")
        self._dsn = f"postgresql://{rest}"
        self.options = options
        self._name = name
        self.shown = _shown(rest)
        if scheme not in SCHEMES:
            raise ConfigurationError(
                f"{name}: a database is a path or sqlite+aiosqlite:///path or "
                f"postgresql://user:password@host:port/name, not {scheme}://..."
            )
        self._hosts = _hosts(rest)

    def __repr__(self) -> str:
        return self.shown

    def within(self, options: PostgresOptions) -> Server:
        """Return the same server, with other limits for connections to come."""
        return Server(self._dsn, options, name=self._name)

    async def connect(self) -> asyncpg.Connection:
        """Open a connection with the limits in force. Raises UnavailableError."""
        if not self._hosts:
            return await self._connect()
        troubles: list[UnavailableError] = []
        for host in tuple(self._hosts):
            try:
                connection = await self._connect(host)
            except UnavailableError as error:
                troubles.append(error)
            else:
                self._prefer(host)
                return connection
        # That all who answer are standbys says more than that one of them does not answer.
        raise max(troubles, key=lambda error: error.reason == READ_ONLY)

    def _prefer(self, host: _Host) -> None:
        if self._hosts[0] != host:
            self._hosts = (host, *(each for each in self._hosts if each != host))

    async def _connect(self, host: _Host | None = None) -> asyncpg.Connection:
        options = self.options
        chosen = {} if host is None else {"host": host[0], "port": host[1]}
        if host is not None and "target_session_attrs=" not in self._dsn:
            chosen["target_session_attrs"] = "read-write"
        with connecting(self._name, self.shown):
            connection: asyncpg.Connection = await asyncpg.connect(
                self._dsn,
                **chosen,
                timeout=options.connect,
                command_timeout=options.statement + _GRACE,
                server_settings=options.server_settings(self._name),
                connection_class=_Connection,
            )
        return connection


class _Connection(asyncpg.Connection):
    """asyncpg's, which waits for the server in two places where we cannot."""

    async def close(self, *, timeout: float | None = None) -> None:
        """Say goodbye and hang up; a hung server would not answer."""
        asyncpg.Connection.terminate(self)

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a command; a COMMIT that the server turned into a ROLLBACK is an error.

        That is what it answers where a statement had failed and the program went on regardless.
        """
        status: str = await super().execute(query, *args, timeout=timeout)
        if status == "ROLLBACK" and query.upper().startswith("COMMIT"):
            raise asyncpg.InFailedSQLTransactionError(
                "nothing was committed: a statement of the transaction had failed"
            )
        return status


def _shown(address: str) -> str:
    """Return user@host:port/name; whatever stands between the user and the last @ is secret."""
    credentials, at, place = address.rpartition("@")
    return f"postgresql://{credentials.partition(':')[0]}{at}{place.partition('?')[0]}"


def _hosts(address: str) -> tuple[_Host, ...]:
    """Return the hosts of a URL that names several; one alone is the driver's to read."""
    places = address.rpartition("@")[2].partition("/")[0].partition("?")[0].split(",")
    if len(places) == 1:
        return ()
    return tuple(_host(place) for place in places)


def _host(place: str) -> _Host:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, "5432"
    # A password may be in a place that was read wrongly: nothing of it is quoted.
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigurationError(
            "a database's hosts are HOST:PORT,HOST:PORT in "
            "postgresql://user:password@host:port,host:port/name"
        )
    return host.strip("[]"), int(port)
