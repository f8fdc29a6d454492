"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the service's tables, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "items",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Index("items_newest", "created_at", "id"),
    )
