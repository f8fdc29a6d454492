"""Greetings: all that this service knows."""

from __future__ import annotations

LONGEST_NAME = 200


def greeting(name: str) -> str:
    """Return what to say to somebody."""
    return f"Hello, {name}!"
