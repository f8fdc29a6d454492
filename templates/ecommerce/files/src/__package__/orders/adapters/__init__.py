"""How the uses of orders meet the database, the wire and the other services."""
