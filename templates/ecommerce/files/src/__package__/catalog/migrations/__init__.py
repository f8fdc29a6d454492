"""How the database of catalog came to be, as Alembic revisions."""
