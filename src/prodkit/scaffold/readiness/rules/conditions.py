"""Code that production does not reach, by what its condition says."""

from __future__ import annotations

import ast
import re

from prodkit.scaffold.readiness.resolver import Resolver

_WORDS = re.compile(r"(?<![a-z])(debug|dev|devel|development|local|demo|test|testing|reload)")


def only_sometimes(source: Resolver, node: ast.AST) -> bool:
    """Say whether a condition around `node` speaks of debugging, development, a demo or tests."""
    for parent in source.module.parents(node):
        if isinstance(parent, ast.If | ast.IfExp | ast.While):
            words = [
                text
                for each in ast.walk(parent.test)
                for text in (_said(each),)
                if text and text != "__main__"
            ]
            if any(_WORDS.search(word.lower()) for word in words):
                return True
    return False


def _said(node: ast.AST) -> str:
    match node:
        case ast.Name(id=text) | ast.Attribute(attr=text):
            return text
        case ast.Constant(value=str(text)):
            return text
        case _:
            return ""
