"""Events: recorded with the change, published at least once, handled once. Extra: `sql`.

Out: `event.Event`, recorded in a `data.unit_of_work.UnitOfWork` over an `outbox.Outbox`, which a
`relay.OutboxRelay` publishes. In: `consumer.Consumer`, its handlers made by `inbox.Inbox.handler`,
and `dead_letters` for what failed. The broker is in `prodkit.transports.embedded`.
"""

from prodkit._extras import extra

with extra("sql", of=__name__):
    import sqlalchemy  # noqa: F401
