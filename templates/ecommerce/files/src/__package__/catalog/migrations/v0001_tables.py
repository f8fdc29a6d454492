"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables of catalog, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "products",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("price", sa.String, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("category", sa.String, nullable=False),
        sa.Column("available", sa.Integer, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False),
        sa.Column("sold", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("updated_at", sa.String, nullable=False),
        sa.CheckConstraint(
            "available >= 0 AND reserved >= 0 AND sold >= 0", name="stock_not_negative"
        ),
        sa.Index("products_newest", "created_at", "id"),
        sa.Index("products_by_category", "category", "created_at", "id"),
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Index("reservations_due", "status", "expires_at"),
    )
    op.create_table(
        "reservation_lines",
        sa.Column("order_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
    )
