"""One Python file as rules see it: its tree, and who is whose parent."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Scope: TypeAlias = ast.Module | Function | ast.Lambda | ast.ClassDef | ast.expr

_SCOPES = (
    ast.Module,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)


#: What has names of its own, in which those of what is around it are not bound.
_OWNERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
#: One object for the whole file each, and of no interest.
_SHARED = (ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop)


@dataclass(eq=False)
class Module:
    """A parsed file; `path` is from the root of the project."""

    path: str
    tree: ast.Module
    nodes: list[ast.AST] = field(init=False)
    calls: list[ast.Call] = field(init=False)
    _parents: dict[ast.AST, ast.AST] = field(init=False)

    def __post_init__(self) -> None:
        self._parents = {}
        self.nodes = [self.tree]
        for node in self.nodes:  # grows while it is walked: no recursion, however deep the tree
            for name in node._fields:
                value = getattr(node, name, None)
                for child in value if isinstance(value, list) else (value,):
                    if isinstance(child, ast.AST) and not isinstance(child, _SHARED):
                        self._parents[child] = node
                        self.nodes.append(child)
        self.calls = [node for node in self.nodes if isinstance(node, ast.Call)]

    @cached_property
    def rebound(self) -> frozenset[str]:
        """The names that some function declares `global` or `nonlocal`, and may bind again."""
        return frozenset(
            name
            for node in self.nodes
            if isinstance(node, ast.Global | ast.Nonlocal)
            for name in node.names
        )

    @cached_property
    def insides(self) -> dict[ast.AST, list[ast.AST]]:
        """The nodes in each function, class and the module, without those that are further in."""
        owners: dict[ast.AST, ast.AST] = {self.tree: self.tree}
        found: dict[ast.AST, list[ast.AST]] = {self.tree: []}
        for node in self.nodes[1:]:
            parent = self._parents[node]
            owner = owners[node] = parent if isinstance(parent, _OWNERS) else owners[parent]
            found.setdefault(owner, []).append(node)
        return found

    @cached_property
    def package(self) -> tuple[str, ...]:
        """The names of the folders that it is in, as an import would say them."""
        return tuple(self.path.split("/")[:-1])

    @cached_property
    def name(self) -> str:
        """Its name, with whatever folders are before its package."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def attributes(self) -> frozenset[str]:
        """The names of all attributes that are mentioned."""
        return frozenset(node.attr for node in self.nodes if isinstance(node, ast.Attribute))

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return what `node` is part of; None for the module."""
        return self._parents.get(node)

    def parents(self, node: ast.AST) -> list[ast.AST]:
        """Return all that `node` is part of, innermost first."""
        found = []
        here = self._parents.get(node)
        while here is not None:
            found.append(here)
            here = self._parents.get(here)
        return found

    def scopes(self, node: ast.AST) -> list[ast.AST]:
        """Return the scopes in which `node` looks for a name, innermost first, module last.

        A class is one only for what stands directly in it; what is evaluated where a function is
        defined (defaults, decorators) does not see its inside.
        """
        found: list[ast.AST] = []
        child = node
        for here in self.parents(node):
            if isinstance(here, ast.ClassDef) and found:
                pass
            elif isinstance(here, _SCOPES) and not _outside(here, child):
                found.append(here)
            child = here
        return found or [self.tree]


def _outside(scope: ast.AST, child: ast.AST) -> bool:
    """Say whether `child`, a part of `scope`, is evaluated outside of it."""
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return child not in scope.body
    if isinstance(scope, ast.Lambda):
        return child is not scope.body
    return False
