"""Text put into a Python file that is there, at places that its syntax tree names.

Nothing else in the file moves, comments neither. What comes out is parsed, and must be what was
there and the one thing more.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

#: The name of an event; queues may be bound to patterns.
_EVENT = re.compile(r"[\w-]+(\.([\w-]+|[*#]))+")
_Function = ast.FunctionDef | ast.AsyncFunctionDef


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
    assert isinstance(new, _Function)
    if new.name in {each.name for each in found.body if isinstance(each, _Function)}:
        raise PlaceError(f"{class_name}.{new.name} is there already")
    first = found.body[0]
    if first.lineno == found.lineno:
        raise PlaceError(f"class {class_name} stands on one line: give it more")
    block = ["\n", *_indented(method, first.col_offset)]
    result = _put(text, _end(found), block)

    def without(tree: ast.Module) -> None:
        _class(tree, class_name).body.pop()

    return _checked(text, result, without)


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

    return _checked(text, result, without)


def with_entry(text: str, key: str, value: Callable[[str], str]) -> str:
    """Return a file whose one table of texts has one entry more, the last.

    `value` makes its expression from the source of the one before. Raises PlaceError.
    """
    table = _table(parsed(text))
    if key in entries_of(text):
        raise PlaceError(f"{key} is handled already")
    start, end = _offset(text, table.values[-1]), _offset(text, table) - 1
    entry = f'"{key}": {value(ast.get_source_segment(text, table.values[-1]) or "")}'
    rest = text[start:end]
    comma = "" if "," in re.sub(r"#.*", "", rest) else ","
    if "\n" in rest:
        indent = " " * min(each.col_offset for each in table.keys if each)
        place = text.rindex("\n", start, end) + 1
        result = f"{text[:start]}{comma}{text[start:place]}{indent}{entry},\n{text[place:]}"
    else:
        result = f"{text[:start]}{comma}{rest.rstrip()} {entry}{text[end:]}"

    def without(tree: ast.Module) -> None:
        again = _table(tree)
        again.keys.pop()
        again.values.pop()

    return _checked(text, result, without)


def entries_of(text: str) -> dict[str, str]:
    """Return the entries of the one table of texts, as source. Raises PlaceError."""
    table = _table(parsed(text))
    return {
        str(key.value): ast.get_source_segment(text, value) or ""
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    }


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


def _table(tree: ast.Module) -> ast.Dict:
    """Return the one dict of the file that leads from names of events to handlers."""
    found = [each for each in ast.walk(tree) if isinstance(each, ast.Dict) and _handles(each)]
    if len(found) != 1:
        raise PlaceError(f"it holds {len(found) or 'no'} tables of events, and should hold one")
    return found[0]


def _handles(table: ast.Dict) -> bool:
    keys = [each.value if isinstance(each, ast.Constant) else None for each in table.keys]
    named = all(isinstance(key, str) and _EVENT.fullmatch(key) for key in keys)
    return bool(keys) and named and all(_handler(each) for each in table.values)


def _handler(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return len(value.args) == 1 and _handler(value.args[0])
    return isinstance(value, ast.Name | ast.Attribute)


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


def _offset(text: str, node: ast.expr) -> int:
    """Return where in `text` a node ends; columns are counted in bytes."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    lines = text.split("\n")
    before = sum(len(line) + 1 for line in lines[: node.end_lineno - 1])
    return before + len(lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode())


def _checked(before: str, after: str, without: Callable[[ast.Module], None]) -> str:
    try:
        tree = parsed(after)
        without(tree)
        same = ast.dump(tree) == ast.dump(parsed(before))
    except PlaceError:
        same = False
    if not same:
        raise PlaceError("it is written so that nothing can be put there: do it by hand")
    return after
