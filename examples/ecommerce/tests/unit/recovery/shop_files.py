"""A shop's databases without the shop: its tables, and some rows in each."""

import sqlite3
from contextlib import closing

from prodkit.messaging import tables
from prodkit.transports.broker import Message
from prodkit.transports.embedded import EmbeddedBroker

from ecommerce.engines import database
from ecommerce.peers import SERVICES
from ecommerce.recovery.progress import Progress


class Quiet(Progress):
    def __init__(self):
        self.said = []

    def moved(self, *_):
        pass

    def done(self, *words):
        self.said.append(words)

    def say(self, words):
        self.said.append(words)


async def fill(settings):
    for service in SERVICES:
        one = database(settings, service)
        await one.start()
        await one.create_all(*tables.TABLES)
        await one.stop()
        put(settings, service, f"{service}-1", f"{service}-2")
    broker = EmbeddedBroker(settings.data_dir / "broker.db")
    await broker.start()
    await broker.declare("orders", ["payment.failed"])
    await broker.publish([Message("1", "payment.failed", b"{}", key="k", headers={})])
    await broker.stop()


def put(settings, service, *ids):
    with closing(connect(settings, service)) as connection, connection:
        connection.executemany(
            "INSERT INTO outbox (id, type, subject, partition, body, traceparent, request_id,"
            " created_at, sent_at, attempts, next_attempt, error)"
            " VALUES (?, 't', 's', 0, x'', '', '', 1.0, 2.0, 0, 0, '')",
            [(each,) for each in ids],
        )


def ids(settings, service):
    with closing(connect(settings, service)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM outbox ORDER BY seq")]


def connect(settings, name):
    path = settings.data_dir / f"{name}.db"
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=5.0)
