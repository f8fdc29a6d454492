"""How the database of orders came to be, as Alembic revisions."""
