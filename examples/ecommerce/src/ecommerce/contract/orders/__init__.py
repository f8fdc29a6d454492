"""The contract of orders."""
