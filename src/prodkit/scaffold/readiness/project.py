"""A project as rules see it: its Python, its contracts, its settings in files."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from prodkit.scaffold.readiness.finding import Finding
from prodkit.scaffold.readiness.module import Module
from prodkit.scaffold.readiness.proto import Contract
from prodkit.scaffold.readiness.resolver import Resolver
from prodkit.scaffold.readiness.yamls import Document


@dataclass(frozen=True)
class Project:
    """All that was read."""

    sources: Sequence[Resolver]
    contracts: Sequence[Contract] = ()
    documents: Sequence[Document] = ()

    @cached_property
    def mentioned(self) -> frozenset[str]:
        """What Python here takes from prodkit by name, and every attribute that it mentions."""
        found: set[str] = set()
        for source in self.sources:
            found |= source.module.attributes
            for node in source.module.nodes:
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prodkit"):
                    found.update(alias.name for alias in node.names)
        return frozenset(found)


def at(module: Module, node: ast.AST, rule: str, message: str, fix: str) -> Finding:
    """Return a finding at the line of `node`."""
    return Finding(module.path, getattr(node, "lineno", 1), rule, message, fix)


def calls(source: Resolver, *names: str) -> list[tuple[str, ast.Call]]:
    """Return the calls of what prodkit calls by one of `names`."""
    found = []
    for called, call in source.called:
        root, _, rest = called.partition(".")
        name = rest.rpartition(".")[2]
        if root == "prodkit" and name in names:
            found.append((name, call))
    return found


def is_none(node: ast.expr | None) -> bool:
    """Say whether an argument is the word None."""
    return isinstance(node, ast.Constant) and node.value is None


def is_true(node: ast.expr | None) -> bool:
    """Say whether an argument is the word True."""
    return isinstance(node, ast.Constant) and node.value is True


def is_zero(node: ast.expr | None) -> bool:
    """Say whether an argument is a number that is zero or below."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return isinstance(node.operand, ast.Constant)
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and not isinstance(value, bool) and value <= 0
