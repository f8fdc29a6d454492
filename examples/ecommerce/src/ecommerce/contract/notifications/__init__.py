"""The contract of notifications."""
