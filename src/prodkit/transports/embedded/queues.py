"""The embedded broker's queues as tables of one SQLite file; synchronous, `now` is passed in."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence

from prodkit.transports.broker import DeadLetter, Delivery, Message, UnroutableError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS queue (name TEXT PRIMARY KEY, ordered INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscription (
    queue TEXT NOT NULL, pattern TEXT NOT NULL, PRIMARY KEY (queue, pattern)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS message (
    tag INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL,
    type TEXT NOT NULL, key TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    attempts INTEGER NOT NULL, deliveries INTEGER NOT NULL, fence INTEGER NOT NULL,
    due REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS message_queue ON message (queue);
CREATE INDEX IF NOT EXISTS message_key ON message (queue, key);
CREATE TABLE IF NOT EXISTS dead_letter (
    tag INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL,
    type TEXT NOT NULL, key TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
    attempts INTEGER NOT NULL, reason TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letter_queue ON dead_letter (queue);
"""

#: When a message is due that waits for nothing: a clock that is moved back does not hold it up.
AT_ONCE = 0.0

# `due` is the one time of a message: when it may be handed out, be it delayed, or leased to a
# consumer (the end of the lease). An ordered key is held by its oldest message.
_DUE = """
FROM message AS m WHERE m.queue = :queue AND m.due <= :now AND (
    m.key = '' OR NOT (SELECT ordered FROM queue WHERE name = :queue)
    OR NOT EXISTS (SELECT 1 FROM message AS earlier
        WHERE earlier.queue = m.queue AND earlier.key = m.key AND earlier.tag < m.tag)
) ORDER BY m.tag LIMIT :limit
"""
_COLUMNS = "id, type, key, headers, body"
_ROUTES = """
SELECT DISTINCT queue FROM subscription WHERE pattern = :type OR (
    substr(pattern, -1) = '*'
    AND substr(pattern, 1, length(pattern) - 1) = substr(:type, 1, length(pattern) - 1))
"""


def connect(path: str, *, wait: float) -> sqlite3.Connection:
    """Open the file, creating what is missing; `wait` bounds waiting for other processes."""
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return connection


class Queues:
    """The operations of a broker; whoever calls them holds the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._executemany = connection.executemany

    def declare(self, queue: str, types: Collection[str], ordered: bool) -> None:
        """Create the queue, or change its order, and add subscriptions; old ones stay."""
        self._execute(
            "INSERT INTO queue VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET ordered = ?",
            (queue, ordered, ordered),
        )
        self._executemany(
            "INSERT OR IGNORE INTO subscription VALUES (?, ?)", [(queue, each) for each in types]
        )

    def publish(self, messages: Sequence[Message], mandatory: bool) -> None:
        """Put a copy of each message into every queue that subscribed to its type."""
        routes = {type_: self._routes(type_) for type_ in {each.type for each in messages}}
        orphans = sorted(type_ for type_, queues in routes.items() if not queues)
        if mandatory and orphans:
            raise UnroutableError(f"no queue has subscribed to {', '.join(orphans)}")
        self._executemany(
            f"INSERT INTO message (queue, {_COLUMNS}, attempts, deliveries, fence, due)"  # noqa: S608 - a constant
            " VALUES (?, ?, ?, ?, ?, ?, 0, 0, 0, ?)",
            [
                (queue, m.id, m.type, m.key, json.dumps(dict(m.headers)), m.body, AT_ONCE)
                for m in messages
                for queue in routes[m.type]
            ],
        )

    def _routes(self, type_: str) -> list[str]:
        return [queue for (queue,) in self._execute(_ROUTES, {"type": type_})]

    def waiting(self, queue: str, now: float) -> bool:
        """Say whether `take` would find something; reads only."""
        found = self._execute(f"SELECT 1 {_DUE}", {"queue": queue, "now": now, "limit": 1})
        return found.fetchone() is not None

    def take(self, queue: str, limit: int, now: float, until: float) -> list[Delivery]:
        """Lease up to `limit` messages until `until`."""
        rows = self._execute(
            f"SELECT tag, attempts, deliveries, fence, {_COLUMNS} {_DUE}",
            {"queue": queue, "now": now, "limit": limit},
        ).fetchall()
        self._executemany(
            "UPDATE message SET due = ?, fence = fence + 1, deliveries = deliveries + 1"
            " WHERE tag = ?",
            [(until, row[0]) for row in rows],
        )
        return [
            Delivery(_message(message), queue, attempts + 1, deliveries + 1, tag, fence + 1)
            for tag, attempts, deliveries, fence, *message in rows
        ]

    def ack(self, delivery: Delivery) -> bool:
        """Delete the message; False if the lease was lost to somebody else."""
        done = self._execute(
            "DELETE FROM message WHERE tag = ? AND fence = ?", (delivery.tag, delivery.fence)
        )
        return done.rowcount > 0

    def retry(self, delivery: Delivery, due: float) -> None:
        """Count an attempt and hand it out again from `due` on."""
        self._execute(
            "UPDATE message SET attempts = attempts + 1, fence = fence + 1, due = ?"
            " WHERE tag = ? AND fence = ?",
            (due, delivery.tag, delivery.fence),
        )

    def release(self, delivery: Delivery, due: float) -> None:
        """Take the delivery back, uncounted, and hand it out again from `due` on."""
        self._execute(
            "UPDATE message SET deliveries = deliveries - 1, fence = fence + 1, due = ?"
            " WHERE tag = ? AND fence = ?",
            (due, delivery.tag, delivery.fence),
        )

    def extend(self, deliveries: Sequence[Delivery], until: float) -> None:
        """Move the end of these leases."""
        self._executemany(
            "UPDATE message SET due = ? WHERE tag = ? AND fence = ?",
            [(until, each.tag, each.fence) for each in deliveries],
        )

    def dead(self, delivery: Delivery, reason: str, now: float) -> None:
        """Move the message to the dead letters."""
        self._execute(
            f"INSERT INTO dead_letter (queue, {_COLUMNS}, attempts, reason, at)"  # noqa: S608 - a constant
            f" SELECT queue, {_COLUMNS}, ?, ?, ? FROM message WHERE tag = ? AND fence = ?",
            (delivery.attempt, reason, now, delivery.tag, delivery.fence),
        )
        self.ack(delivery)

    def dead_letters(self, queue: str, limit: int, after: int) -> list[DeadLetter]:
        """Return a page of dead letters, oldest first."""
        rows = self._execute(
            f"SELECT tag, attempts, reason, at, {_COLUMNS} FROM dead_letter"  # noqa: S608 - a constant
            " WHERE queue = ? AND tag > ? ORDER BY tag LIMIT ?",
            (queue, after, limit),
        )
        return [
            DeadLetter(tag, queue, _message(message), attempts, reason, at)
            for tag, attempts, reason, at, *message in rows
        ]

    def replay(self, queue: str, tag: int) -> bool:
        """Put a dead letter at the end of its queue."""
        self._execute(
            f"INSERT INTO message (queue, {_COLUMNS}, attempts, deliveries, fence, due)"  # noqa: S608 - a constant
            f" SELECT queue, {_COLUMNS}, 0, 0, 0, ? FROM dead_letter WHERE queue = ? AND tag = ?",
            (AT_ONCE, queue, tag),
        )
        return self.drop(queue, tag)

    def drop(self, queue: str, tag: int) -> bool:
        """Delete a dead letter."""
        done = self._execute("DELETE FROM dead_letter WHERE queue = ? AND tag = ?", (queue, tag))
        return done.rowcount > 0

    def depths(self) -> dict[str, tuple[int, int]]:
        """Return, for each queue, how many messages and how many dead letters it holds."""
        rows: Iterator[tuple[str, int, int]] = self._execute(
            "SELECT name, (SELECT count(*) FROM message WHERE queue = name),"
            " (SELECT count(*) FROM dead_letter WHERE queue = name) FROM queue"
        )
        return {name: (messages, dead) for name, messages, dead in rows}


def _message(row: Sequence[str | bytes]) -> Message:
    id_, type_, key, headers, body = row
    assert isinstance(body, bytes)
    return Message(str(id_), str(type_), body, str(key), json.loads(headers))
