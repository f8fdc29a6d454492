"""Users: accounts, sessions, roles, and the tokens that the other services verify."""
