"""The tables of users. Passwords and refresh tokens are kept as hashes only."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, MetaData, String, Table

metadata = MetaData()

accounts = Table(
    "accounts",
    metadata,
    Column("id", String, primary_key=True),
    Column("email", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("phone", String, nullable=False, default=""),
    Column("password_hash", String, nullable=False),
    Column("status", String, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("role_version", Integer, nullable=False, default=0),
    #: Unix time of the last change of roles or status: what revocations are made of.
    Column("revised_at", Float, nullable=False, default=0.0),
    Column("created_at", String, nullable=False),
    Column("updated_at", String, nullable=False),
    Index("accounts_oldest", "created_at", "id"),
    Index("accounts_revised", "revised_at"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("user_id", String, nullable=False, index=True),
    Column("refresh_hash", String, nullable=False, unique=True),
    Column("expires_at", Float, nullable=False),
    Column("ended_at", Float, index=True),
)

#: Refresh tokens that were exchanged already: to see one again means that somebody copied it.
spent_tokens = Table(
    "spent_tokens",
    metadata,
    Column("hash", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("spent_at", Float, nullable=False, index=True),
)
