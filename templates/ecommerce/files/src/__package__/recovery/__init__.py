"""`backup` and `restore`: all databases of the shop as of one instant."""
