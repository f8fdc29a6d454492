"""Classes of settings, wherever in the project they are, and their fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from prodkit.scaffold.readiness.project import Project
from prodkit.scaffold.readiness.resolver import Resolver, argument

_PLAIN = ("pydantic_settings.BaseSettings", "pydantic_settings.main.BaseSettings")


@dataclass(frozen=True, slots=True)
class Field:
    """A field: how it is annotated, and the expression that is its default."""

    name: str
    node: ast.AnnAssign
    kind: str  #: SecretStr, SecretBytes, str, or "" for anything else; None beside it is left out
    default: ast.expr | None


@dataclass(frozen=True, slots=True)
class Settings:
    """A class of settings; `guarded` where prodkit's own refusals hold for it."""

    source: Resolver
    node: ast.ClassDef
    guarded: bool

    def fields(self) -> Iterator[Field]:
        """Yield the fields that the class itself has."""
        for node in self.node.body:
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
                continue
            if not node.target.id.startswith("_"):  # pydantic makes no field of such a name
                kind = _kind(self.source, node.annotation)
                yield Field(node.target.id, node, kind, _default(node.value))


def settings_of(project: Project) -> list[Settings]:
    """Return the classes that derive from prodkit's ServiceSettings or pydantic's BaseSettings."""
    classes = {
        f"{source.module.name}.{node.name}": (source, node)
        for source in project.sources
        for node in source.module.nodes
        if isinstance(node, ast.ClassDef)
    }
    return [
        Settings(source, node, guarded)
        for name, (source, node) in classes.items()
        if (guarded := _guarded(name, classes, set())) is not None
    ]


def _guarded(
    name: str, classes: dict[str, tuple[Resolver, ast.ClassDef]], seen: set[str]
) -> bool | None:
    """Say of which of the two a class is, None if of neither."""
    seen.add(name)
    source, node = classes[name]
    for base in node.bases:
        called = source.name_of(base)
        if source.ours(base) == "ServiceSettings":
            return True
        if called in _PLAIN:
            return False
        for other in classes:
            known = called and (other == called or other.endswith(f".{called}"))
            if known and other not in seen:
                found = _guarded(other, classes, seen)
                if found is not None:
                    return found
    return None


def _kind(source: Resolver, annotation: ast.expr) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return ""
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        sides = (annotation.left, annotation.right)
        rest = [side for side in sides if not _nothing(side)]
        return _kind(source, rest[0]) if len(rest) == 1 else ""
    if isinstance(annotation, ast.Subscript):
        optional = source.name_of(annotation.value) == "typing.Optional"
        return _kind(source, annotation.slice) if optional else ""
    if isinstance(annotation, ast.Name) and annotation.id == "str":
        return "str"
    root, _, last = source.name_of(annotation).rpartition(".")
    ours = root.partition(".")[0] == "pydantic" and last in ("SecretStr", "SecretBytes")
    return last if ours else ""


def _nothing(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _default(value: ast.expr | None) -> ast.expr | None:
    """Return the default itself, out of `Field(default, ...)` if it stands in one."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name | ast.Attribute):
        name = value.func.id if isinstance(value.func, ast.Name) else value.func.attr
        if name == "Field":
            return argument(value, "default", 0)
    return value
