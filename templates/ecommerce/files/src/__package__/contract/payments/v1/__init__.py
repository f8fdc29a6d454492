"""Version 1 of the contract of payments."""
