"""The tables of payments. No column can hold a card number: a token and four digits are kept."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

metadata = MetaData()

#: Means of payment that were handed in; `token` is empty until the provider gave one.
means = Table(
    "means",
    metadata,
    Column("handle", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("method", String, nullable=False),
    Column("token", String, nullable=False, default=""),
    Column("last4", String, nullable=False, default=""),
    Column("created_at", String, nullable=False),
)

payments = Table(
    "payments",
    metadata,
    Column("id", String, primary_key=True),
    Column("order_id", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("method", String, nullable=False),
    Column("handle", String, nullable=False),
    Column("amount", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("card_last4", String, nullable=False, default=""),
    Column("authorization_id", String, nullable=False, default=""),
    Column("message", String, nullable=False, default=""),
    Column("created_at", String, nullable=False),
    Column("updated_at", String, nullable=False),
    Index("payments_of_user", "user_id", "created_at", "id"),
    Index("payments_of_order", "order_id"),
)

_live = payments.c.status.in_(["pending", "authorized", "captured"])
#: One live payment an order, whoever asks how often.
Index(
    "one_live_payment_per_order",
    payments.c.order_id,
    unique=True,
    sqlite_where=_live,
    postgresql_where=_live,
)
