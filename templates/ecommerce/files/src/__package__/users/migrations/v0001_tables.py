"""The first tables."""

import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the tables of users, and prodkit's beside them."""
    tables.upgrade(op.get_bind(), 1)
    op.create_table(
        "accounts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("email", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("phone", sa.String, nullable=False),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("role_version", sa.Integer, nullable=False),
        sa.Column("revised_at", sa.Float, nullable=False),
        sa.Column("created_at", sa.String, nullable=False),
        sa.Column("updated_at", sa.String, nullable=False),
        sa.Index("accounts_oldest", "created_at", "id"),
        sa.Index("accounts_revised", "revised_at"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user_id", sa.String, nullable=False, index=True),
        sa.Column("refresh_hash", sa.String, nullable=False, unique=True),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float, index=True),
    )
    op.create_table(
        "spent_tokens",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("spent_at", sa.Float, nullable=False, index=True),
    )
