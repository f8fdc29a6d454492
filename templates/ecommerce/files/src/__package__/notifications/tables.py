"""The tables of notifications."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

notifications = Table(
    "notifications",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("recipient", String, nullable=False),
    Column("event_id", String, nullable=False),
    Column("event_type", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("traceparent", String, nullable=False, default=""),
    Column("request_id", String, nullable=False, default=""),
    Column("status", String, nullable=False, default="pending"),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_at", Float, nullable=False),
    Column("created_at", String, nullable=False),
    Column("sent_at", String, nullable=False, default=""),
    Index("notifications_of_user", "user_id", "created_at", "id"),
    Index("notifications_due", "status", "due_at"),
)

preferences = Table(
    "preferences",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("email", Boolean, nullable=False),
    Column("sms", Boolean, nullable=False),
    Column("push", Boolean, nullable=False),
)
