"""Where a RabbitMQ is: what its URL says, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from yarl import URL

from prodkit.errors import ConfigurationError

_SCHEMES = ("amqp", "amqps")
_QUERY = ("cafile", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """A RabbitMQ, who we are there, and the virtual host; `url` holds the password."""

    host: str
    port: int
    user: str
    vhost: str
    url: URL = field(repr=False)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def named(self, name: str, heartbeat: int) -> URL:
        """Return the URL of a connection that operators see as `name`."""
        return self.url.update_query(name=name, heartbeat=str(heartbeat))


def parse(url: str) -> Address:
    """Read `amqp://user:password@host:port/vhost`, `amqps://` for TLS; no path: vhost `/`.

    In the query may stand `cafile`, `certfile` and `keyfile`: files in PEM. Raises
    ConfigurationError, which does not repeat the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    except ValueError as error:
        raise ConfigurationError(f"a RabbitMQ URL that cannot be read: {_cause(error)}") from None
    if parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"a RabbitMQ URL begins with one of {_SCHEMES}, not {parts.scheme or 'nothing'!r}"
        )
    unknown = parse_qs(parts.query).keys() - set(_QUERY)
    if unknown:
        raise ConfigurationError(
            f"a RabbitMQ URL may say {_QUERY}, not {', '.join(sorted(unknown))}"
        )
    host = parts.hostname or "localhost"
    read = URL(url).with_host(host).with_port(port)
    if parts.username is None:
        read = read.with_user("guest").with_password("guest")
    vhost = unquote(parts.path[1:]) or "/"
    return Address(host, port, unquote(parts.username or "guest"), vhost, read)


def _cause(error: ValueError) -> str:
    return "its port is no number from 0 to 65535" if "ort" in str(error) else "its host is broken"
