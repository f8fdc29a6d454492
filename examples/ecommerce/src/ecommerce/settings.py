"""Everything about the shop that can be set, and what it is if nobody sets it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from prodkit.errors import ConfigurationError
from prodkit.service.settings import ServiceSettings
from prodkit.stores.redis.address import parse as parse_redis
from prodkit.transports.amqp.address import parse as parse_amqp
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from .peers import checked

#: What stands for a service's name in `database_url`.
PLACEHOLDER = "{service}"
#: What may stand before "://" in it.
SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


class Settings(ServiceSettings):
    """Settings of the shop: `config/*.yaml`, then `SHOP_...` in the environment. Seconds."""

    model_config = SettingsConfigDict(env_prefix="SHOP_")

    data_dir: Path = Field(Path("var"), description="Where databases, queues and keys are kept.")
    keys_dir: Path | None = Field(
        None, description="Signing keys, which all processes share; data_dir/keys if not set."
    )
    database_url: SecretStr | None = Field(
        None,
        description="postgresql://USER:PASSWORD@HOST:PORT/shop_{service}, with {service} for the"
        " service's name; several HOST:PORT,HOST:PORT are a failover set. SQLite files in data_dir"
        " if empty.",
    )
    database_pool: int = Field(
        10, ge=1, le=1000, description="Connections of each service and process to PostgreSQL."
    )
    broker_url: SecretStr | None = Field(
        None,
        description="amqp://USER:PASSWORD@HOST:PORT/VHOST of a RabbitMQ; a file in data_dir if"
        " empty.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="redis://USER:PASSWORD@HOST:PORT/DB, for limits that processes have together;"
        " each process counts by itself if empty.",
    )

    mesh: Literal["local", "grpc"] = Field(
        "local", description="How services of one process call each other."
    )
    grpc_host: str = Field("127.0.0.1", description="Where services listen for each other.")
    grpc_port: int = Field(
        0, ge=0, le=65535, description="The same; any free port if all services are in one process."
    )
    peers: dict[str, str] = Field(
        {},
        description='Where services of other processes are: {"orders": "HOST:PORT,HOST:PORT"};'
        " calls are spread over several.",
    )
    sample_ratio: float = Field(0.01, ge=0, le=1, description="Share of traces that are recorded.")
    spans_file: Path | None = Field(None, description="Where spans go, a line of JSON each.")
    trusted_proxies: int = Field(
        0, ge=0, le=8, description="How many hops of X-Forwarded-For are the shop's own proxies."
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins whose pages may call the API.")

    accounts_password: SecretStr | None = Field(
        None,
        description="Password of the first accounts (admin@example.com, staff@example.com,"
        " customer@example.com), which are created if it is set; the demo's is known.",
    )
    sandbox_host: str = Field("127.0.0.1", description="Where the sandbox listens.")
    sandbox_port: int = Field(8081, ge=0, le=65535, description="Where the sandbox listens.")
    sandbox_url: str = Field("", description="The provider and gateways; the sandbox if empty.")
    public_url: str = Field("", description="The front door as the sandbox sees it.")
    smtp_host: str = "127.0.0.1"
    smtp_port: int = Field(8025, ge=0, le=65535)
    provider_timeout: float = Field(1.5, gt=0, le=30, description="Patience with the provider.")
    payment_patience: float = Field(
        4.0, gt=0, le=9, description="How long a payment is waited for before it is `pending`."
    )

    lease: float = Field(
        6.0, ge=1, le=60, description="How long a process is silent before others take its work."
    )
    reservation_lifetime: float = Field(
        900.0, gt=0, le=2_592_000, description="How long an order holds stock; a month at most."
    )
    concurrency_floor: int = Field(
        10,
        ge=1,
        le=1000,
        description="Checkouts at once, and as many other requests, that each gateway takes however"
        " slow they have become.",
    )
    requests_per_second: int = Field(200, ge=1, description="Per principal, across all methods.")
    login_attempts_per_minute: int = Field(10, ge=1, description="Per account, before hashing.")
    login_attempts_per_address: int = Field(60, ge=1, description="A minute, before hashing.")

    revocations_every: float = Field(
        15.0, gt=0, le=60, description="How often services ask which tokens and roles have ended."
    )

    webhook_secret: SecretStr = Field(
        SecretStr("demo-webhook-secret"), description="Shared with the provider; signs webhooks."
    )
    idempotency_secret: SecretStr = Field(
        SecretStr("demo-idempotency-secret"), description="Keys the fingerprints of requests."
    )

    @field_validator("database_url", "broker_url", "redis_url", mode="after")
    @classmethod
    def _empty_is_none(cls, url: SecretStr | None) -> SecretStr | None:
        return url if url is not None and url.get_secret_value() else None

    @field_validator("database_url", mode="after")
    @classmethod
    def _postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        scheme = url.get_secret_value().partition("://")[0] if url is not None else SCHEMES[0]
        if scheme not in SCHEMES:
            raise ValueError("must be postgresql://USER:PASSWORD@HOST:PORT/shop_{service}")
        return url

    @field_validator("broker_url", mode="after")
    @classmethod
    def _rabbitmq(cls, url: SecretStr | None) -> SecretStr | None:
        return _parsed(url, parse_amqp)

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis(cls, url: SecretStr | None) -> SecretStr | None:
        return _parsed(url, parse_redis)

    @field_validator("sandbox_url", "public_url", mode="after")
    @classmethod
    def _http(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be http://HOST:PORT or https://HOST")
        return url

    @field_validator("peers", mode="after")
    @classmethod
    def _addresses(cls, peers: dict[str, str]) -> dict[str, str]:
        return checked(peers)

    @property
    def keys_path(self) -> Path:
        """Where the signing keys are."""
        return self.keys_dir or self.data_dir / "keys"

    def make_data_dir(self) -> Path:
        """Return the data folder, which exists then; ConfigurationError where it cannot."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"data_dir: {error}") from error
        return self.data_dir

    @property
    def provider_url(self) -> str:
        """Where the payment provider and the message gateways are."""
        return self.sandbox_url or f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def webhook_url(self) -> str:
        """Where the sandbox reports to."""
        door = self.public_url or f"http://127.0.0.1:{self.port}"
        return f"{door}/api/v1/webhooks/payments"


def _parsed(url: SecretStr | None, parse: Callable[[str], object]) -> SecretStr | None:
    if url is not None:
        try:
            parse(url.get_secret_value())
        except ConfigurationError as error:
            raise ValueError(str(error)) from None  # it names no password
    return url
