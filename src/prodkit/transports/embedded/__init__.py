"""The embedded broker: durable queues in one SQLite file."""

from prodkit.transports.embedded.broker import EmbeddedBroker

__all__ = ["EmbeddedBroker"]
