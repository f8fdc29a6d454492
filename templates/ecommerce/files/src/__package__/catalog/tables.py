"""The tables of the catalog."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

#: The constraint is the last line of defence; every change is conditional before it.
products = Table(
    "products",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("description", Text, nullable=False),
    Column("price", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("category", String, nullable=False),
    Column("available", Integer, nullable=False),
    Column("reserved", Integer, nullable=False, default=0),
    Column("sold", Integer, nullable=False, default=0),
    Column("created_at", String, nullable=False),
    Column("updated_at", String, nullable=False),
    CheckConstraint("available >= 0 AND reserved >= 0 AND sold >= 0", name="stock_not_negative"),
    Index("products_newest", "created_at", "id"),
    Index("products_by_category", "category", "created_at", "id"),
)

reservations = Table(
    "reservations",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("expires_at", Float, nullable=False),
    Index("reservations_due", "status", "expires_at"),
)

reservation_lines = Table(
    "reservation_lines",
    metadata,
    Column("order_id", String, primary_key=True),
    Column("product_id", String, primary_key=True),
    Column("quantity", Integer, nullable=False),
)
