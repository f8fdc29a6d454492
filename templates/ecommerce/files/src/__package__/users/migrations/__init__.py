"""How the database of users came to be, as Alembic revisions."""
