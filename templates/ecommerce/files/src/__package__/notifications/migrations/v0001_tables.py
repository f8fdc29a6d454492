"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables of notifications, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "notifications",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("channel", sa.String, nullable=False),
        sa.Column("recipient", sa.String, nullable=False),
        sa.Column("event_id", sa.String, nullable=False),
        sa.Column("event_type", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("traceparent", sa.String, nullable=False),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("sent_at", sa.String, nullable=False),
        sa.Index("notifications_of_user", "user_id", "created_at", "id"),
        sa.Index("notifications_due", "status", "due_at"),
    )
    op.create_table(
        "preferences",
        sa.Column("user_id", sa.String, primary_key=True),
        sa.Column("email", sa.Boolean, nullable=False),
        sa.Column("sms", sa.Boolean, nullable=False),
        sa.Column("push", sa.Boolean, nullable=False),
    )
