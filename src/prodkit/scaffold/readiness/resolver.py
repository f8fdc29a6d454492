"""What an expression stands for, followed through names, imports and functions of its file."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

from prodkit.scaffold.readiness.bindings import (
    OPAQUE,
    Binding,
    Imported,
    Opaque,
    Parameter,
    bindings_of,
    parameters,
)
from prodkit.scaffold.readiness.module import Function, Module

#: What the parameters of the functions stand for whose results are looked at.
Arguments: TypeAlias = Mapping[tuple[ast.AST, str], "Value"]
#: Names that lead to names, functions that call functions: nobody writes longer chains.
_DEEPEST = 12


@dataclass(frozen=True, slots=True)
class Value:
    """An expression, and what the parameters in it stand for."""

    node: ast.expr
    arguments: Arguments = field(default_factory=dict)


@dataclass(eq=False)
class Resolver:
    """Follows the names of one module; what it does not know for sure it leaves as it is."""

    module: Module
    _bindings: dict[ast.AST, dict[str, Binding]] = field(default_factory=dict)

    @cached_property
    def called(self) -> list[tuple[str, ast.Call]]:
        """The calls of what is imported or defined here, with its full name."""
        named = ((self.name_of(call.func), call) for call in self.module.calls)
        return [(name, call) for name, call in named if name]

    def binding(self, name: ast.Name) -> tuple[Binding, ast.AST] | None:
        """Return what a name stands for and in which scope; None for one that is bound nowhere."""
        for scope in self.module.scopes(name):
            if scope not in self._bindings:
                self._bindings[scope] = bindings_of(scope, self.module)
            found = self._bindings[scope].get(name.id)
            if found is not None:
                return found, scope
        return None

    def resolve(self, value: Value) -> Value | None:
        """Follow names and functions to an expression; None where nobody can know it.

        A name that is imported, or defined by `def` or `class`, is the end of the way.
        """
        for _ in range(_DEEPEST):
            match value.node:
                case ast.Name():
                    followed = self._follow(value.node, value.arguments)
                    if followed is None or followed.node is value.node:
                        return followed
                    value = followed
                case ast.NamedExpr():
                    value = Value(value.node.value, value.arguments)
                case ast.Call(func=ast.Name() as name):
                    found = self.binding(name)
                    if found is None or not isinstance(found[0], ast.FunctionDef):
                        return value
                    result = self._result(found[0], value)
                    if result is None:
                        return None
                    value = result
                case _:
                    return value
        return None

    def _follow(self, name: ast.Name, arguments: Arguments) -> Value | None:
        found = self.binding(name)
        if found is None:
            return Value(name, arguments)
        binding, scope = found
        if isinstance(binding, Opaque):
            return None
        if isinstance(binding, Parameter):
            return arguments.get((scope, name.id))
        if isinstance(binding, ast.expr):
            return Value(binding, arguments)
        return Value(name, arguments)

    def _result(self, function: Function, value: Value) -> Value | None:
        """Return what a call of `function` gives, if it has one `return` and no surprises."""
        call = value.node
        assert isinstance(call, ast.Call)
        returns = returned(function)
        if returns is None:
            return None
        given = self._given(function, call, value.arguments)
        return None if given is None else Value(returns, {**value.arguments, **given})

    def _given(
        self, function: Function, call: ast.Call, arguments: Arguments
    ) -> dict[tuple[ast.AST, str], Value] | None:
        """Return the values of the parameters; None where they cannot be told one by one."""
        args = function.args
        if any(isinstance(each, ast.Starred) for each in call.args):
            return None
        if any(keyword.arg is None for keyword in call.keywords):
            return None
        names = [each.arg for each in (*args.posonlyargs, *args.args)]
        given: dict[tuple[ast.AST, str], Value] = {}
        for name, default in zip(reversed(names), reversed(args.defaults), strict=False):
            given[function, name] = Value(default)
        for keyword_only, other in zip(args.kwonlyargs, args.kw_defaults, strict=True):
            if other is not None:
                given[function, keyword_only.arg] = Value(other)
        for name, node in zip(names, call.args, strict=False):
            given[function, name] = Value(node, arguments)
        for keyword in call.keywords:
            if keyword.arg in parameters(args):
                given[function, str(keyword.arg)] = Value(keyword.value, arguments)
        if args.vararg is not None:
            rest = ast.Tuple(elts=call.args[len(names) :], ctx=ast.Load())
            given[function, args.vararg.arg] = Value(rest, arguments)
        return given

    def name_of(self, node: ast.expr) -> str:
        """Return the full name of what is imported or defined here, "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        found = self.binding(node)
        binding = OPAQUE if found is None else found[0]
        if isinstance(binding, Imported):
            return ".".join((binding.name, *reversed(parts)))
        if isinstance(binding, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not parts:
            return f"{self.module.name}.{binding.name}"
        return ""

    def ours(self, node: ast.expr) -> str:
        """Return what prodkit calls `node`, "" for what is not prodkit's; modules are left out."""
        root, _, rest = self.name_of(node).partition(".")
        return rest.rpartition(".")[2] if root == "prodkit" else ""


def returned(function: Function) -> ast.expr | None:
    """Return the one expression that a plain function returns, None for any other function."""
    if isinstance(function, ast.AsyncFunctionDef) or function.decorator_list:
        return None
    found: list[ast.expr | None] = []
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return None
        if isinstance(node, ast.Return):
            found.append(node.value)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return found[0] if len(found) == 1 else None


def argument(call: ast.Call, name: str, position: int | None = None) -> ast.expr | None:
    """Return the argument of that name, or at that position; None if it is not given."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    if position is not None and position < len(call.args):
        return call.args[position]
    return None


def complete(call: ast.Call) -> bool:
    """Say whether all arguments can be seen: none comes by `*` or `**`."""
    starred = any(isinstance(each, ast.Starred) for each in call.args)
    return not starred and all(keyword.arg is not None for keyword in call.keywords)
