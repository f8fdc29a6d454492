"""Environment variables that were meant for a setting, and reach none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

#: How alike a variable and a setting are when one is a slip for the other: DATABSE_URL is, and
#: what Kubernetes adds for a service's name (DATABASE_PORT, REDIS_SERVICE_HOST) is not.
_ALIKE = 0.87


def mistyped(prefix: str, known: Iterable[str], variables: Mapping[str, str]) -> list[str]:
    """Return a line for each variable that begins with `prefix` and nearly names a `known` setting.

    What is like none is somebody else's. Without a prefix all of them may be.
    """
    names = list(known)
    problems = []
    for variable in sorted(variables) if prefix else ():
        start, key = variable[: len(prefix)].upper(), variable[len(prefix) :].lower()
        field = key.partition("__")[0]
        if start != prefix.upper() or field in names:
            continue
        near = get_close_matches(field, names, n=1, cutoff=_ALIKE)
        # A longer prefix of another service ends in our name, and begins otherwise.
        if near and near[0][0] == field[0]:
            meant = f"{prefix}{near[0]}".upper()
            problems.append(f"environment variable {variable}: no such setting, is it {meant}?")
    return problems
