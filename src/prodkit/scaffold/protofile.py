"""A `.proto` file read as far as a method and its messages can be put into it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from prodkit.scaffold.insertion import PlaceError

_TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[A-Za-z_][\w.]*|[{};]|[^\s\w]|\d\w*""",
    re.DOTALL,
)
_COMMENTS = ("//", "/*")


@dataclass(slots=True)
class ProtoService:
    """A service: its methods, and where its closing brace stands."""

    name: str
    methods: list[str] = field(default_factory=list)
    end: int = 0


@dataclass(slots=True)
class ProtoFile:
    """What a file says at its top: package, imports, services, other names."""

    package: str = ""
    services: dict[str, ProtoService] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)  # of messages and enums
    imports: list[str] = field(default_factory=list)
    after_imports: int = 0


def read_proto(text: str) -> ProtoFile:
    """Return what a file says; raise PlaceError where its braces do not match."""
    found, depth = ProtoFile(), 0
    service: ProtoService | None = None
    words: list[str] = []  # of the statement so far
    for word, end in _tokens(text):
        if word == "{":
            depth += 1
            service = _opened(found, words) if depth == 1 else service
            words = []
        elif word == "}":
            depth -= 1
            if depth == 0 and service is not None:
                service.end, service = end - 1, None
            words = []
        elif word == ";":
            if depth == 0:
                _said(found, words, end)
            words = []
        else:
            words.append(word)
            if depth == 1 and service is not None and words[:-1] == ["rpc"]:
                service.methods.append(word)
        if depth < 0:
            break
    if depth:
        raise PlaceError("its braces do not match")
    return found


def with_rpc(text: str, service: str, method: str, block: str, messages: str) -> str:
    """Return a file with `block` at the end of a service and `messages` at its own end.

    Raises PlaceError.
    """
    before = read_proto(text)
    found = before.services.get(service)
    if found is None:
        raise PlaceError(f"there is no service {service}; there are {', '.join(before.services)}")
    if method in found.methods:
        raise PlaceError(f"{service}.{method} is there already")
    new = read_proto(messages)
    if taken := [name for name in new.names if name in (*before.names, *before.services)]:
        raise PlaceError(f"the name {' and '.join(taken)} is taken there")
    head, tail = text[: found.end].rstrip(), text[found.end :]
    lines = "".join(f"  {line}\n" if line else "\n" for line in block.strip("\n").splitlines())
    result = f"{head}\n{lines}{tail}".rstrip("\n") + f"\n\n{messages.strip()}\n"
    after = read_proto(result)
    wanted = [*found.methods, method]
    if after.services[service].methods != wanted or after.names != [*before.names, *new.names]:
        raise PlaceError("it is written so that nothing can be put there: do it by hand")
    return result


def with_proto_import(text: str, path: str) -> str:
    """Return a file that imports `path`; raise PlaceError."""
    found = read_proto(text)
    if path in found.imports:
        return text
    if not found.imports:
        raise PlaceError(f'it imports nothing; write `import "{path}";` after its package')
    place = found.after_imports
    return f'{text[:place]}\nimport "{path}";{text[place:]}'


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    for each in _TOKEN.finditer(text):
        if not each[0].startswith(_COMMENTS):
            yield each[0], each.end()


def _opened(found: ProtoFile, words: list[str]) -> ProtoService | None:
    kind, name = [*words, "", ""][:2]
    if kind == "service":
        found.services[name] = ProtoService(name)
        return found.services[name]
    if kind in ("message", "enum"):
        found.names.append(name)
    return None


def _said(found: ProtoFile, words: list[str], end: int) -> None:
    if words[:1] == ["package"]:
        found.package = words[-1]
    elif words[:1] == ["import"]:
        found.imports.append(words[-1].strip("\"'"))
        found.after_imports = end
