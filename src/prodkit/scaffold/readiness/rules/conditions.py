"""Code that production does not reach, by what its condition says."""

from __future__ import annotations

import ast
import re

from prodkit.scaffold.readiness.resolver import Resolver

_WORDS = re.compile(
    r"(?<![a-z])(?:debug(?:ging)?|dev|devel|develop|development|local|demo|tests?|testing|reload)"
    r"(?![a-z])"
)


def only_sometimes(source: Resolver, node: ast.AST) -> bool:
    """Say whether the code around `node` is for debugging, development, a demo or tests.

    A condition says so, or the name of a function or of the command that it is.
    """
    words: list[str] = []
    for parent in source.module.parents(node):
        told: list[ast.expr] = []
        if isinstance(parent, ast.If | ast.IfExp | ast.While):
            told = [parent.test]
        elif isinstance(parent, ast.FunctionDef | ast.AsyncFunctionDef):
            words.append(parent.name)
            told = parent.decorator_list
        words += [_said(each) for expression in told for each in ast.walk(expression)]
    return any(_WORDS.search(word.lower()) for word in words)


def _said(node: ast.AST) -> str:
    match node:
        case ast.Name(id=text) | ast.Attribute(attr=text):
            return text
        case ast.Constant(value=str(text)):
            return text
        case _:
            return ""
