"""The sandbox's own database: what a provider and a mail host would keep."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

#: What a means of payment was exchanged for. The card number itself is not kept.
tokens = Table(
    "tokens",
    metadata,
    Column("token", String, primary_key=True),
    Column("method", String, nullable=False),
    Column("behaviour", String, nullable=False),
    Column("last4", String, nullable=False),
)

authorizations = Table(
    "authorizations",
    metadata,
    Column("id", String, primary_key=True),
    Column("reference", String, nullable=False, index=True),
    Column("token", String, nullable=False),
    Column("amount", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("status", String, nullable=False),
    Column("settles_at", Float),
)

#: Money that moved. The constraint is the provider's own promise: one capture, one refund.
ledger = Table(
    "ledger",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("kind", String, nullable=False),
    Column("authorization", String, nullable=False),
    Column("reference", String, nullable=False),
    Column("amount", String, nullable=False),
    Column("currency", String, nullable=False),
    UniqueConstraint("authorization", "kind"),
)

#: Answers under their idempotency keys.
replies = Table(
    "replies",
    metadata,
    Column("key", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String, primary_key=True),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_at", Float, nullable=False),
    Column("delivered", Boolean, nullable=False, default=False),
)

messages = Table(
    "messages",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("channel", String, nullable=False),
    Column("recipient", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("message_id", String, nullable=False),
    Column("received_at", Float, nullable=False),
)
