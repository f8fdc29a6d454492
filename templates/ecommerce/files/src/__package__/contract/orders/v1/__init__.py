"""Version 1 of the contract of orders."""
