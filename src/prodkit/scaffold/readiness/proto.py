"""What a `.proto` file says of its methods, read without protoc."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')"""
    r"""|(?P<word>[A-Za-z_][\w.]*|\d[\w.]*)|(?P<sign>\S)""",
    re.DOTALL,
)
_PAIRS = {"{": "}", "(": ")", "[": "]"}
_CLOSING = frozenset(_PAIRS.values())
OPTIONS = "prodkit/v1/options.proto"


class ProtoError(Exception):
    """A file that is no contract; `line` says where it stops being one."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a string or a sign, and its line."""

    text: str
    line: int


@dataclass(slots=True)
class Method:
    """A method: where it begins, whether its answer is a stream, and what its options say."""

    name: str
    line: int
    #: The keys of its `(prodkit.v1.method)` option, `access` say, with the tokens of the value.
    options: dict[str, list[str]] = field(default_factory=dict)
    #: Its `idempotency_level`, "" where it declares none.
    level: str = ""
    streams: bool = False


@dataclass(slots=True)
class Contract:
    """A file: what it imports, and its methods as `Service.Method`."""

    path: str
    imports: set[str] = field(default_factory=set)
    methods: list[Method] = field(default_factory=list)


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of a file without its comments."""
    line, last = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", last, found.start())
        last = found.start()
        if found.lastgroup != "comment":
            yield Token(found.group(), line)


def read_contract(path: str, text: str) -> Contract:
    """Return what a file says; raise ProtoError where its brackets do not match."""
    contract = Contract(path)
    tokens = list(tokens_of(text))
    _check(tokens)
    place = 0
    while place < len(tokens):
        end = _statement(tokens, place)
        words = [token.text for token in tokens[place:end]]
        if words[0] == "import":
            contract.imports.update(word.strip("\"'") for word in words[1:])
        elif words[0] == "service" and len(words) > 2 and words[2] == "{":
            contract.methods += _methods(words[1], tokens[place + 3 : end - 1])
        place = end
    return contract


def _check(tokens: list[Token]) -> None:
    """Raise ProtoError where a brace has no partner."""
    opened: list[Token] = []
    for token in tokens:
        if token.text in ("{", "[", "("):
            opened.append(token)
        elif token.text in _CLOSING and not (opened and _PAIRS[opened.pop().text] == token.text):
            raise ProtoError(token.line, f"there is no partner for {token.text}")
    if opened:
        raise ProtoError(opened[-1].line, f"{opened[-1].text} is never closed")


def _statement(tokens: list[Token], start: int) -> int:
    """Return where the statement that begins at `start` ends: behind its `;` or its `{...}`."""
    for place in range(start, len(tokens)):
        text = tokens[place].text
        if text == ";":
            return place + 1
        if text == "{" and not _value(tokens, start):
            return _closed(tokens, place)
    return len(tokens)


def _value(tokens: list[Token], start: int) -> bool:
    """Say whether the braces of a statement are a value: `option (x) = {...};`."""
    return tokens[start].text == "option"


def _closed(tokens: list[Token], start: int) -> int:
    """Return the place behind the partner of the bracket at `start`."""
    opening, depth = tokens[start].text, 0
    closing = _PAIRS[opening]
    for place in range(start, len(tokens)):
        text = tokens[place].text
        depth += (text == opening) - (text == closing)
        if depth == 0:
            return place + 1
    return len(tokens)


def _methods(service: str, tokens: list[Token]) -> Iterator[Method]:
    place = 0
    while place < len(tokens):
        end = _statement(tokens, place)
        if tokens[place].text == "rpc" and end - place > 2:
            yield _method(service, tokens[place:end])
        place = end


def _method(service: str, tokens: list[Token]) -> Method:
    words = [token.text for token in tokens]
    method = Method(f"{service}.{words[1]}", tokens[0].line)
    answer = words.index("returns") + 2 if "returns" in words else 0
    method.streams = words[answer : answer + 1] == ["stream"]
    if "{" not in words:
        return method
    body = tokens[words.index("{") + 1 : -1]
    place = 0
    while place < len(body):
        end = _statement(body, place)
        if body[place].text == "option":
            _option(method, [token.text for token in body[place + 1 : end]])
        place = end
    return method


def _option(method: Method, words: list[str]) -> None:
    """Take in `(prodkit.v1.method) = {...};`, its `.access = {...}`, and the idempotency level."""
    if words[:2] == ["idempotency_level", "="]:
        method.level = words[2] if len(words) > 2 else ""
        return
    if words[:1] != ["("] or ")" not in words or "=" not in words:
        return
    name = "".join(words[1 : words.index(")")]).lstrip(".")
    if name != "prodkit.v1.method":
        return
    path = "".join(words[words.index(")") + 1 : words.index("=")]).strip(".")
    value = words[words.index("=") + 1 :]
    if path:
        method.options.setdefault(path.partition(".")[0], []).extend(value)
    else:
        method.options |= _keys(value)


def _keys(words: list[str]) -> dict[str, list[str]]:
    """Return the keys of the outermost braces of a value, and what follows each."""
    found: dict[str, list[str]] = {}
    depth, key = 0, ""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        depth -= word in ("}", "]", ">")
        if depth == 1 and after in (":", "{", "<") and word not in _SIGNS:
            key = word
            found[key] = []
        elif key:
            found[key].append(word)
        depth += word in ("{", "[", "<")
    return found


_SIGNS = frozenset(":{}[]<>,;")
