"""Private servers for a test run: PostgreSQL, Redis, RabbitMQ from the binaries on the machine."""

from prodkit.testing.servers.postgres import PrivatePostgres
from prodkit.testing.servers.private import PrivateServer, ServerError, free_port
from prodkit.testing.servers.rabbitmq import PrivateRabbitMQ
from prodkit.testing.servers.redis import PrivateRedis

__all__ = [
    "PrivatePostgres",
    "PrivateRabbitMQ",
    "PrivateRedis",
    "PrivateServer",
    "ServerError",
    "free_port",
]
