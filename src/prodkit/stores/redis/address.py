"""Where a Redis is: what its URL says, checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from prodkit.errors import ConfigurationError

P = TypeVar("P", bound=asyncio.Protocol)
_PORT = 6379
_SCHEMES = ("redis", "rediss", "unix")
_QUERY = ("db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis server, the database in it, and who we are there."""

    host: str
    port: int
    path: str  # of a unix socket; "" for TCP
    db: int
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None

    async def open(self, protocol: Callable[[], P]) -> P:
        """Connect; raises OSError, of which a TLS failure is one."""
        loop = asyncio.get_running_loop()
        if self.path:
            return (await loop.create_unix_connection(protocol, self.path))[1]
        where = self.host, self.port
        return (await loop.create_connection(protocol, *where, ssl=self.tls))[1]

    def greeting(self) -> list[tuple[str, ...]]:
        """Return the commands with which a connection begins; the last one asks if it serves."""
        commands: list[tuple[str, ...]] = []
        if self.password:
            who = (self.user, self.password) if self.user else (self.password,)
            commands.append(("AUTH", *who))
        if self.db:
            commands.append(("SELECT", str(self.db)))
        return [*commands, ("PING",)]


def parse(url: str) -> Address:
    """Read `redis://user:password@host:port/db`, `rediss://` for TLS, `unix://path?db=1`.

    In the query may stand `db`, and for TLS `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`: files
    in PEM. Raises ConfigurationError, which does not repeat the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"a Redis URL begins with one of {_SCHEMES}, not {parts.scheme or 'nothing'!r}"
        )
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = query.keys() - set(_QUERY)
    if unknown:
        raise ConfigurationError(f"a Redis URL may say {_QUERY}, not {', '.join(sorted(unknown))}")
    local = parts.scheme == "unix"
    return Address(
        host=parts.hostname or "localhost",
        port=_port(parts),
        path=unquote(parts.path) if local else "",
        db=_db(query.get("db") or ("" if local else parts.path.strip("/"))),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=_tls(query) if parts.scheme == "rediss" else None,
    )


def _port(parts: SplitResult) -> int:
    try:
        return parts.port or _PORT
    except ValueError:  # whose words show it, and it may be a password that lacks its host
        raise ConfigurationError("the port of a Redis URL is a number from 0 to 65535") from None


def _db(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        # Not shown: behind a mistyped scheme it is all the rest, with the password.
        raise ConfigurationError("the database of a Redis URL is a number from 0 on")
    return int(text or 0)


def _tls(query: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=query.get("ssl_ca_certs"))
        if "ssl_certfile" in query:
            context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"))
    except OSError as error:
        raise ConfigurationError(f"the TLS files of a Redis URL: {error}") from error
    return context
