"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables of payments, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "means",
        sa.Column("handle", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("token", sa.String, nullable=False),
        sa.Column("last4", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
    )
    op.create_table(
        "payments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("order_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("method", sa.String, nullable=False),
        sa.Column("handle", sa.String, nullable=False),
        sa.Column("amount", sa.String, nullable=False),
        sa.Column("currency", sa.String, nullable=False),
        sa.Column("card_last4", sa.String, nullable=False),
        sa.Column("authorization_id", sa.String, nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("updated_at", sa.String, nullable=False),
        sa.Index("payments_of_user", "user_id", "created_at", "id"),
        sa.Index("payments_of_order", "order_id"),
    )
    op.create_index(
        "one_live_payment_per_order",
        "payments",
        ["order_id"],
        unique=True,
        postgresql_where=sa.text("status IN ('pending', 'authorized', 'captured')"),
    )
