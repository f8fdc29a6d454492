"""The contract of catalog."""
