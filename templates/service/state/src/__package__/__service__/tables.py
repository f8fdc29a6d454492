"""The tables."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

metadata = MetaData()

items = Table(
    "items",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("created_at", String, nullable=False),
    Index("items_newest", "created_at", "id"),
)
