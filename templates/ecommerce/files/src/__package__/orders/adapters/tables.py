"""The tables of orders."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Index, Integer, MetaData, String, Table

metadata = MetaData()

#: Items, sums and address never change once agreed, so they are one document beside the state.
orders = Table(
    "orders",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("payment_status", String, nullable=False),
    Column("payment_id", String, nullable=False, default=""),
    Column("reason", String, nullable=False, default=""),
    Column("version", Integer, nullable=False),
    Column("agreed", JSON, nullable=False),
    Column("created_at", String, nullable=False),
    Column("updated_at", String, nullable=False),
    Index("orders_of_user", "user_id", "created_at", "id"),
    Index("orders_by_status", "status", "created_at"),
)

carts = Table(
    "carts",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("position", Integer, nullable=False),
)

discounts = Table(
    "discounts",
    metadata,
    Column("code", String, primary_key=True),
    Column("share", String, nullable=False),
)
