"""Text put into a Python file that is there, at places that its syntax tree names.

Nothing else in the file moves, comments neither. What comes out is parsed, and must be what was
there and the one thing more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef


class PlaceError(Exception):
    """A file has no such place, or it is taken; says which."""


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a file; raise PlaceError."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        raise PlaceError(f"{line}this is no Python") from None


def with_method(text: str, class_name: str, method: str) -> str:
    """Return a file with `method`, written without indentation, at the end of a class.

    Raises PlaceError.
    """
    found = _class(parsed(text), class_name)
    new = parsed(method).body[0]
    assert isinstance(new, Function)
    if new.name in {each.name for each in found.body if isinstance(each, Function)}:
        raise PlaceError(f"{class_name}.{new.name} is there already")
    first = found.body[0]
    if first.lineno == found.lineno:
        raise PlaceError(f"class {class_name} stands on one line: give it more")
    block = ["\n", *_indented(method, first.col_offset)]
    result = _put(text, _end(found), block)

    def without(tree: ast.Module) -> None:
        _class(tree, class_name).body.pop()

    return checked(text, result, without)


def with_import(text: str, statement: str) -> str:
    """Return a file that has a relative import more, where it sorts. Raises PlaceError."""
    tree = parsed(text)
    new = parsed(statement).body[0]
    assert isinstance(new, ast.ImportFrom)
    imports = [each for each in tree.body if isinstance(each, ast.Import | ast.ImportFrom)]
    alike = [each for each in imports if isinstance(each, ast.ImportFrom) and each.level]
    before = [each for each in alike if _order(each) < _order(new)]
    line = f"{statement}\n"
    if before:
        result = _put(text, _end(before[-1]), [line])
    elif alike:
        result = _put(text, alike[0].lineno - 1, [line])
    elif imports:  # a section of its own
        result = _put(text, _end(imports[-1]), ["\n", line])
    else:
        raise PlaceError("it imports nothing, so there is no place for an import")

    def without(tree: ast.Module) -> None:
        again = next(each for each in tree.body if ast.dump(each) == ast.dump(new))
        tree.body.remove(again)

    return checked(text, result, without)


def classes_of(text: str) -> Iterator[ast.ClassDef]:
    """Yield the classes of a file; none where it is no Python."""
    try:
        yield from (each for each in parsed(text).body if isinstance(each, ast.ClassDef))
    except PlaceError:
        return


def _class(tree: ast.Module, name: str) -> ast.ClassDef:
    for each in tree.body:
        if isinstance(each, ast.ClassDef) and each.name == name:
            return each
    raise PlaceError(f"there is no class {name}")


def _order(statement: ast.ImportFrom) -> tuple[int, list[tuple[int, str]]]:
    """Return what relative imports are sorted by: the furthest first, then by name."""
    words = re.findall(r"\d+|\D+", statement.module or "")
    return -statement.level, [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def _indented(source: str, columns: int) -> list[str]:
    lines = source.strip("\n").split("\n")
    return [f"{' ' * columns}{line}\n" if line else "\n" for line in lines]


def _put(text: str, place: int, block: list[str]) -> str:
    """Return `text` with lines put before the line at `place`, counted from 0."""
    lines = [f"{line}\n" for line in text.removesuffix("\n").split("\n")]
    return "".join([*lines[:place], *block, *lines[place:]])


def _end(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def checked(before: str, after: str, without: Callable[[ast.Module], None]) -> str:
    """Return `after`, which is `before` once `without` took out what is new; else PlaceError."""
    try:
        tree = parsed(after)
        without(tree)
        same = ast.dump(tree) == ast.dump(parsed(before))
    except PlaceError:
        same = False
    if not same:
        raise PlaceError("it is written so that nothing can be put there: do it by hand")
    return after
