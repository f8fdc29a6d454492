"""How the database of payments came to be, as Alembic revisions."""
