"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables of orders, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "orders",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("payment_status", sa.String, nullable=False),
        sa.Column("payment_id", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("agreed", sa.JSON, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("updated_at", sa.String, nullable=False),
        sa.Index("orders_of_user", "user_id", "created_at", "id"),
        sa.Index("orders_by_status", "status", "created_at"),
    )
    op.create_table(
        "carts",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("product_id", sa.String, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
    )
    op.create_table(
        "discounts",
        sa.Column("code", sa.String, primary_key=True),
        sa.Column("share", sa.String, nullable=False),
    )
