"""What names stand for in a scope, where that can be said for sure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from prodkit.scaffold.readiness.module import Function, Module


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that comes from elsewhere: `prodkit.pipeline.Pipeline`."""

    name: str


@dataclass(frozen=True, slots=True)
class Opaque:
    """A name that may stand for anything: a loop's, one with several values."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name that stands for what the caller gave."""


#: An expression that is assigned once, a definition, an import, or nothing that is known.
Binding: TypeAlias = ast.expr | Function | ast.ClassDef | Imported | Parameter | Opaque
OPAQUE = Opaque()
PARAMETER = Parameter()
#: The nodes that `_bound` knows; looking at the others would take most of the time.
_BINDERS = frozenset(
    {
        ast.AnnAssign,
        ast.Assign,
        ast.AsyncFunctionDef,
        ast.ClassDef,
        ast.ExceptHandler,
        ast.FunctionDef,
        ast.Global,
        ast.Import,
        ast.ImportFrom,
        ast.MatchAs,
        ast.MatchMapping,
        ast.MatchStar,
        ast.Name,
        ast.NamedExpr,
        ast.Nonlocal,
    }
)


def bindings_of(scope: ast.AST, module: Module) -> dict[str, Binding]:
    """Return what each name of `scope` stands for; of two bindings neither is known."""
    found: dict[str, Binding] = {}
    for name, binding in _bindings(scope, module):
        again = name in found or name in module.rebound
        found[name] = OPAQUE if again else binding
    return found


def _bindings(scope: ast.AST, module: Module) -> Iterator[tuple[str, Binding]]:
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for name in parameters(scope.args):
            yield name, PARAMETER
    for node in module.insides.get(scope, ()):
        if type(node) in _BINDERS:
            yield from _bound(node, module)


def parameters(arguments: ast.arguments) -> list[str]:
    """Return the names of all parameters."""
    each = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]
    return [arg.arg for arg in (*each, *rest)]


def _bound(node: ast.AST, module: Module) -> Iterator[tuple[str, Binding]]:
    match node:
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from ((name, OPAQUE) for name in names)
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _assigned(target, value)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            yield name, value
        case ast.NamedExpr(target=ast.Name(id=name), value=value):
            yield name, value
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name, node
        case ast.Import() | ast.ImportFrom():
            yield from _imported(node, module)
        case ast.ExceptHandler(name=str(name)):
            yield name, OPAQUE
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name, OPAQUE
        case ast.MatchMapping(rest=str(name)):
            yield name, OPAQUE
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if not _told(node, module):
            yield name, OPAQUE
        case _:
            return


def _told(name: ast.Name, module: Module) -> bool:
    """Say whether another case of `_bound` tells of the name."""
    parent = module.parent(name)
    while isinstance(parent, ast.Tuple | ast.List):
        parent = module.parent(parent)
    return isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr)


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, Binding]]:
    """Yield what an assignment binds; of `a, b = x, y` both, of `a, b = f()` neither is known."""
    if isinstance(target, ast.Name):
        yield target.id, value
        return
    if not isinstance(target, ast.Tuple | ast.List):
        return
    pairs = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
    starred = any(isinstance(each, ast.Starred) for each in target.elts)
    if isinstance(value, ast.Tuple | ast.List) and pairs and not starred:
        for left, right in zip(target.elts, value.elts, strict=True):
            yield from _assigned(left, right)
        return
    for each in ast.walk(target):
        if isinstance(each, ast.Name):
            yield each.id, OPAQUE


def _imported(node: ast.Import | ast.ImportFrom, module: Module) -> Iterator[tuple[str, Binding]]:
    for alias in node.names:
        if isinstance(node, ast.Import):
            first = alias.name.partition(".")[0]
            yield (alias.asname or first), Imported(alias.name if alias.asname else first)
        elif alias.name != "*":
            origin = _origin(node, module)
            yield alias.asname or alias.name, Imported(f"{origin}.{alias.name}".lstrip("."))


def _origin(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    package = module.package[: len(module.package) - node.level + 1]
    return ".".join((*package, *((node.module,) if node.module else ())))
