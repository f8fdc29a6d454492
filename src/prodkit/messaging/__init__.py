"""Events: recorded with the change, published at least once, handled once. Extra: `sql`."""
