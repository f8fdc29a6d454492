"""Classes of settings, wherever in the project they are, and their fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from prodkit.scaffold.readiness.project import Project
from prodkit.scaffold.readiness.resolver import Resolver, argument

_PLAIN = ("pydantic_settings.BaseSettings", "pydantic_settings.main.BaseSettings")


_Class: TypeAlias = tuple[Resolver, ast.ClassDef]


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
    classes: dict[str, list[_Class]] = {}
    for source in project.sources:
        for node in source.module.nodes:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append((source, node))
    return [
        Settings(source, node, guarded)
        for several in classes.values()
        for source, node in several
        if (guarded := _guarded((source, node), classes)) is not None
    ]


def _guarded(of: _Class, classes: dict[str, list[_Class]]) -> bool | None:
    """Say of which of the two a class is, None if of neither."""
    waiting, seen = [of], {of[1]}
    for source, node in waiting:  # grows while it is walked
        for base in node.bases:
            called = source.name_of(base)
            if source.ours(base) == "ServiceSettings":
                return True
            if called in _PLAIN:
                return False
            for other, each in classes.get(called.rpartition(".")[2], ()):
                name = f"{other.module.name}.{each.name}"
                if each not in seen and (name == called or name.endswith(f".{called}")):
                    seen.add(each)
                    waiting.append((other, each))
    return None


def _kind(source: Resolver, annotation: ast.expr) -> str:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        rest = [side for side in (annotation.left, annotation.right) if not _nothing(side)]
        if len(rest) != 1:
            return ""
        annotation = rest[0]
    elif isinstance(annotation, ast.Subscript):
        if source.name_of(annotation.value) != "typing.Optional":
            return ""
        annotation = annotation.slice
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
