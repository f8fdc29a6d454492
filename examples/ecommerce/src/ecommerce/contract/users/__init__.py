"""The contract of users."""
