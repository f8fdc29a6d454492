"""The table in which a service says what it makes of which event, and one entry more in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from prodkit.scaffold.insertion import Function, PlaceError, checked, parsed

#: The name of an event; queues may be bound to patterns.
_EVENT = re.compile(r"[\w-]+(\.([\w-]+|[*#]))+")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_WIDTH = 100


def with_entry(text: str, key: str, value: Callable[[str], str]) -> str:
    """Return a file whose one table of texts has one entry more, the last.

    `value` makes its expression from the source of the one before. Raises PlaceError.
    """
    table = _table(parsed(text))
    if key in entries_of(text):
        raise PlaceError(f"{key} is handled already")
    start, end = _end(text, table.values[-1]), _end(text, table) - 1
    new = value(_source(text, table.values[-1]))
    entry = f'"{key}": {new}'
    rest = text[start:end]
    comma = "" if "," in re.sub(r"#.*", "", rest) else ","
    if "\n" in rest:
        indent = " " * min(each.col_offset for each in table.keys if each)
        place = text.rindex("\n", start, end) + 1
        result = f"{text[:start]}{comma}{text[start:place]}{_line(entry, indent)}{text[place:]}"
    else:
        result = f"{text[:start]}{comma}{rest.rstrip()} {entry}{text[end:]}"
        pairs = zip(table.keys, table.values, strict=True)
        told = [f"{_source(text, key)}: {_source(text, each)}" for key, each in pairs if key]
        begin = _place(text, table.lineno, table.col_offset) + 1
        result = _spread(text[:begin], [*told, entry], text[end:]) or result

    def without(tree: ast.Module) -> None:
        again = _table(tree)
        last, made = again.keys.pop(), again.values.pop()
        if last is None or ast.unparse(last) != repr(key) or ast.unparse(made) != new:
            raise PlaceError("another entry has come of it")

    return checked(text, result, without)


def entries_of(text: str) -> dict[str, str]:
    """Return the entries of the one table of texts, as source. Raises PlaceError."""
    table = _table(parsed(text))
    return {
        str(key.value): _source(text, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    }


def _table(tree: ast.Module) -> ast.Dict:
    """Return the one dict of the file that leads from names of events to handlers."""
    found = [each for each in _told(tree) if isinstance(each, ast.Dict) and _handles(each)]
    if len(found) != 1:
        raise PlaceError(f"it holds {len(found) or 'no'} tables of events, and should hold one")
    return found[0]


def _told(tree: ast.Module) -> Iterator[ast.expr | None]:
    """Yield what is given to a consumer, returned or kept under the name of handlers."""
    for each in ast.walk(tree):
        if isinstance(each, ast.Call) and _name(each.func).endswith("consumer"):
            yield from each.args
        elif isinstance(each, Function) and "handlers" in _name(each):
            yield from (inner.value for inner in ast.walk(each) if isinstance(inner, ast.Return))
        elif isinstance(each, ast.Assign | ast.AnnAssign):
            targets = each.targets if isinstance(each, ast.Assign) else [each.target]
            if any("handlers" in _name(target) for target in targets):
                yield each.value


def _name(node: ast.AST) -> str:
    """Return what a node is called, in small letters; what it is an attribute of is left out."""
    for attribute in ("attr", "id", "name"):
        if isinstance(name := getattr(node, attribute, None), str):
            return name.lower()
    return ""


def _handles(table: ast.Dict) -> bool:
    keys = [each.value if isinstance(each, ast.Constant) else None for each in table.keys]
    named = all(isinstance(key, str) and _EVENT.fullmatch(key) for key in keys)
    return bool(keys) and named and all(_handler(each) for each in table.values)


def _handler(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return len(value.args) == 1 and _handler(value.args[0])
    return isinstance(value, ast.Name | ast.Attribute)


def _spread(before: str, entries: list[str], after: str) -> str:
    """Return a table on lines of its own as ruff spreads one that is too wide; "" for no need."""
    head, tail = before[before.rfind("\n") + 1 :], after.partition("\n")[0]
    opened = re.findall(r"[^(\[{]*[(\[{]", head.strip())
    closed = "".join(_BRACKETS[each[-1]] for each in reversed(opened))
    fits = len(head + ", ".join(entries) + tail) <= _WIDTH
    if fits or "".join(opened) != head.strip() or not tail.startswith(closed):
        return ""
    indent, step = head[: len(head) - len(head.lstrip())], "    "
    lines = [indent + step * depth + each for depth, each in enumerate(opened)]
    inner = indent + step * len(opened)
    lines += [_line(entry, inner).removesuffix("\n") for entry in entries]
    lines += [indent + step * (len(opened) - n) + each for n, each in enumerate(closed, 1)]
    return before[: len(before) - len(head)] + "\n".join(lines) + after[len(closed) :]


def _line(entry: str, indent: str) -> str:
    """Return an entry with its comma, the argument of its call on a line of its own if need be."""
    if len(indent + entry) < _WIDTH or not entry.endswith(")"):
        return f"{indent}{entry},\n"
    head, _, argument = entry[:-1].partition("(")
    return f"{indent}{head}(\n{indent}    {argument}\n{indent}),\n"


def _source(text: str, node: ast.expr) -> str:
    return ast.get_source_segment(text, node) or ""


def _end(text: str, node: ast.expr) -> int:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return _place(text, node.end_lineno, node.end_col_offset)


def _place(text: str, line: int, column: int) -> int:
    """Return where in `text` a place of the syntax tree is; its columns are counted in bytes."""
    lines = text.split("\n")
    before = sum(len(each) + 1 for each in lines[: line - 1])
    return before + len(lines[line - 1].encode()[:column].decode())
