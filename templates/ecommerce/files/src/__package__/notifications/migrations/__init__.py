"""How the database of notifications came to be, as Alembic revisions."""
