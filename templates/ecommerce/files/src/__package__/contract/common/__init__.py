"""The contract of common."""
