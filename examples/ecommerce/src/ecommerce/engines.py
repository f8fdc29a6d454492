"""What the services of a process keep their data in: files, or servers. Chosen here alone."""

from __future__ import annotations

from collections.abc import Sequence

from prodkit.data.cache.store import CacheStore
from prodkit.data.database import Database, PostgresOptions
from prodkit.errors import ConfigurationError
from prodkit.policies.rate_limiter import RateLimitStore
from prodkit.service.component import Component
from prodkit.service.health import Check
from prodkit.stores.memory import MemoryCacheStore, MemoryRateLimitStore
from prodkit.stores.redis import RedisCacheStore, RedisConnection, RedisRateLimitStore
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.embedded import EmbeddedBroker

from .settings import PLACEHOLDER, Settings

#: Seconds that a transaction waits for its turn: on SQLite there is one writer, and a queue.
DATABASE_WAIT = 5.0
#: Keys that a process without Redis keeps in mind.
MOST_KEYS = 100_000


class Engines:
    """The engines that `settings` name; services get the same objects whichever they are.

    Raises ConfigurationError where one database would have to do for several services.
    """

    broker: EmbeddedBroker | AmqpBroker
    rates: RateLimitStore
    cache: CacheStore

    def __init__(self, settings: Settings, services: Sequence[str]) -> None:
        self._settings = settings
        self._services = services
        if len(services) > 1:
            check_placeholder(settings)
        if settings.broker_url is None:
            self.broker = EmbeddedBroker(
                settings.make_data_dir() / "broker.db", lease=settings.lease
            )
        else:
            self.broker = AmqpBroker(settings.broker_url.get_secret_value(), lease=settings.lease)
        self._redis: RedisConnection | None = None
        if settings.redis_url is None:
            self.rates = MemoryRateLimitStore(max_keys=MOST_KEYS)
            self.cache = MemoryCacheStore(max_size=MOST_KEYS)
        else:
            # Limits are kept process by process while it is away: nothing to stay down for.
            redis = RedisConnection(settings.redis_url.get_secret_value(), required=False)
            self.rates, self.cache = RedisRateLimitStore(redis), RedisCacheStore(redis)
            self._redis = redis

    def database(self, service: str) -> Database:
        """Return the database of a service."""
        return database(self._settings, service)

    @property
    def resources(self) -> list[Component]:
        """What the process opens before its services, their databases apart."""
        resources: list[Component] = [self.broker] if self._services else []
        return resources if self._redis is None else [self._redis, *resources]

    @property
    def checks(self) -> list[Check]:
        """What goes on without them: events wait in outboxes, limits are each process's own."""
        checks = [Check("broker", self.broker.ping, essential=False)]
        checks = checks if self._services else []
        if self._redis is not None:
            checks.append(Check("redis", self._redis.ping, essential=False))
        return checks


def database(settings: Settings, service: str, *, statement: float = 1.5) -> Database:
    """Return the database of `service`: a file, or what `database_url` says.

    On PostgreSQL no statement may take longer than `statement` seconds.
    """
    name = f"{service} database"
    if settings.database_url is None:
        return Database(settings.make_data_dir() / f"{service}.db", name=name, wait=DATABASE_WAIT)
    return Database(
        settings.database_url.get_secret_value().replace(PLACEHOLDER, service),
        name=name,
        wait=DATABASE_WAIT,
        postgres=PostgresOptions(pool=settings.database_pool, statement=statement),
    )


def check_placeholder(settings: Settings) -> None:
    """Raise ConfigurationError unless each service has a database of its own."""
    url = settings.database_url
    if url is not None and PLACEHOLDER not in url.get_secret_value():
        raise ConfigurationError(
            f"database_url: must hold {PLACEHOLDER} in the place of the service's name,"
            " each service has a database of its own"
        )
