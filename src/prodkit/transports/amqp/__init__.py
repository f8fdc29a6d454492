"""RabbitMQ as a broker; needs the extra `rabbitmq`."""

from prodkit._extras import extra

with extra("rabbitmq", of=__name__):
    import aiormq  # noqa: F401
    import pamqp  # noqa: F401

from prodkit.transports.amqp.broker import AmqpBroker

__all__ = ["AmqpBroker"]
