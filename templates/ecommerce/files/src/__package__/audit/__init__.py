"""`audit`: do the books balance? What the shop wrote down, beside what the world saw."""
