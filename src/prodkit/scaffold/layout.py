"""Python written as ruff lays it out."""

from __future__ import annotations

_WIDTH = 100


def laid_out(head: str, arguments: list[str], tail: str, indent: int) -> str:
    """Return a call or a signature as ruff lays it out, `indent` columns from the left."""
    joined = ", ".join(arguments)
    for text in (f"{head}{joined}{tail}", f"{head}\n    {joined}\n{tail}"):
        if all(len(line) <= _WIDTH - indent for line in text.split("\n")):
            return text
    return "\n".join([head, *(f"    {each}," for each in arguments), tail])


def imported(module: str, name: str) -> str:
    """Return the import of one name."""
    line = f"from {module} import {name}"
    return line if len(line) <= _WIDTH else f"from {module} import (\n    {name},\n)"
