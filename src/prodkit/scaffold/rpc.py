"""`prodkit add rpc`: a method into a contract, into the servicer, and a test of it."""

from __future__ import annotations

import ast
import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.add import how_to_speak, open_current, services_of, speaks_of
from prodkit.scaffold.additions import Additions
from prodkit.scaffold.insertion import with_method
from prodkit.scaffold.layout import imported, laid_out
from prodkit.scaffold.names import service_of
from prodkit.scaffold.places import Contract, Sources
from prodkit.scaffold.project import Project
from prodkit.scaffold.protofile import read_proto, with_proto_import, with_rpc

_METHOD = re.compile(r"[A-Z][A-Za-z0-9]{0,39}")
_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+|\{([a-z][a-z0-9_]*)\}")
_BOUND = re.compile(r'\b(get|put|post|delete|patch) *: *"([^"\n]*)"')
_ACCESS = re.compile(r"access *: *(\{[^{}]*\})")
_ANNOTATIONS = "google/api/annotations.proto"
_VALIDATION = "buf/validate/validate.proto"


@dataclass(frozen=True, slots=True)
class Route:
    """How a method is reached over HTTP: `get` or `post`, and a path as `/v1/items/{id}`."""

    verb: str
    path: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in the path. Raises ConfigurationError for a path that cannot be."""
        path, _, verb = self.path.partition(":")
        segments = path.split("/")
        found = [_SEGMENT.fullmatch(each) for each in segments[1:]]
        names = [each[1] for each in found if each and each[1]]
        if segments[0] or not all(found) or not re.fullmatch(r"[a-zA-Z]*", verb):
            raise ConfigurationError(
                f"{self.path!r} is no path of a method: it begins with a slash, and is made of"
                " letters, digits and names in braces, as /v1/items/{id}"
            )
        if len(set(names)) != len(names):
            raise ConfigurationError(f"{self.path!r} names a variable twice")
        if kept := [name for name in names if keyword.iskeyword(name)]:
            raise ConfigurationError(f"{self.path!r}: {kept[0]} is a keyword of Python")
        return tuple(names)

    @property
    def shape(self) -> tuple[str, str]:
        """What no other method may have: names make no difference."""
        return self.verb, re.sub(r"\{[^}]*\}", "{}", self.path)


def prepare_rpc(
    folder: Path, service: str, method: str, route: Route | None = None, *, root: Path | None = None
) -> Additions:
    """Work out what a method called `method` adds to a service; raise ConfigurationError."""
    project = open_current(folder)
    sources = sources_of(project, service, root=root)
    speaks = speaks_of(project, root=root)
    _check(method, route, speaks)
    fields = (route.variables if route else ()) or ("id",)
    if "grpc" not in speaks:
        raise ConfigurationError(
            f"{project.answers.name} does not speak grpc: {how_to_speak('grpc')}"
        )
    contract = sources.contract()
    if route is not None:
        _check_route(sources, route)
    additions = Additions(project.folder)
    additions.edit(contract.file, lambda text: _declared(text, contract, method, route, fields))
    source = _served(contract, method, fields)
    name = contract.servicer_class.name
    additions.edit(contract.servicer, lambda text: with_method(text, name, source))
    additions.create(
        sources.tests / f"test_{snake(method)}.py", _tested(contract, project, method, fields)
    )
    return additions


def sources_of(project: Project, service: str, *, root: Path | None = None) -> Sources:
    """Return where a service's sources are; raise ConfigurationError for one that is not there."""
    known = services_of(project, root=root)
    if (package := service_of(service)) not in known:
        raise ConfigurationError(f"there is no service {service}; there are {', '.join(known)}")
    return Sources(project, package)


def snake(name: str) -> str:
    """Return `GetItem` as `get_item`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _check(method: str, route: Route | None, speaks: tuple[str, ...]) -> None:
    if not _METHOD.fullmatch(method) or method in ("None", "True", "False"):
        raise ConfigurationError(
            f"{method!r} is no name of a method: it begins with a capital and is made of letters"
            " and digits, 40 at most, as GetItem"
        )
    if route is not None and "http" not in speaks:
        raise ConfigurationError(
            f"this project does not speak http, its methods have no paths: {how_to_speak('http')}"
        )


def _check_route(sources: Sources, route: Route) -> None:
    for file in sources.contracts():
        for verb, path in _BOUND.findall(file.read_text("utf-8", errors="replace")):
            if Route(verb, path).shape == route.shape:
                raise ConfigurationError(f"{verb.upper()} {path} is taken in {file.name}")


def _declared(
    text: str, contract: Contract, method: str, route: Route | None, fields: tuple[str, ...]
) -> str:
    found = read_proto(text).services.get(contract.service)
    before = text[: found.end] if found else ""
    access = ["{authenticated: true}", *_ACCESS.findall(before)]
    if route:  # those whom it admits come from outside
        access = [each for each in access if "services" not in each]
    options = []
    if route and route.verb == "get":
        options.append("option idempotency_level = NO_SIDE_EFFECTS;")
    if route:
        text = with_proto_import(text, _ANNOTATIONS)
        whole = ' body: "*"' if route.verb == "post" else ""
        options.append(f'option (google.api.http) = {{{route.verb}: "{route.path}"{whole}}};')
    options.append(
        f"option (prodkit.v1.method) = {{access: {access[-1]} deadline: {{seconds: 2}}}};"
    )
    head = f"rpc {method}({method}Request) returns ({method}Response) {{"
    block = "\n".join([f"// {_words(method)}.", head, *(f"  {each}" for each in options), "}"])
    return with_rpc(text, contract.service, method, block, _messages(text, method, fields))


def _messages(text: str, method: str, fields: tuple[str, ...]) -> str:
    rule = " [(buf.validate.field).string = {min_len: 1, max_len: 64}]"
    rule = rule if _VALIDATION in text else ""
    asked = [f"  string {name} = {number}{rule};" for number, name in enumerate(fields, 1)]
    told = [f"  string {name} = {number};" for number, name in enumerate(fields, 1)]
    request = [f"message {method}Request {{", *asked, "}"]
    return "\n".join([*request, "", f"message {method}Response {{", *told, "}", ""])


def _served(contract: Contract, method: str, fields: tuple[str, ...]) -> str:
    """Return the method of the servicer, in the words of the one before it."""
    module, context = _words_of(contract)
    request = f"request: {module}.{method}Request"
    answer = f"{module}.{method}Response"
    echoed = [f"{name}=request.{name}" for name in fields]
    head = laid_out(f"async def {method}(", ["self", request, context], f") -> {answer}:", 4)
    body = laid_out(f"return {answer}(", echoed, ")", 8).replace("\n", "\n    ")
    return f'{head}\n    """{_words(method)}."""\n    {body}\n'


def _tested(contract: Contract, project: Project, method: str, fields: tuple[str, ...]) -> str:
    """Return a test that calls the method and looks at its answer."""
    name = contract.servicer_class.name
    given = laid_out(
        f"request = pb.{method}Request(", [f'{each}="{each}-1"' for each in fields], ")", 4
    )
    call = laid_out(f"call = {name}.{method}(", ["servicer", "request", "Mock()"], ")", 4)
    imports = [
        imported(_module(project, contract.file.parent), f"{contract.file.stem}_pb2 as pb"),
        imported(_module(project, contract.servicer.with_suffix("")), name),
    ]
    lines = [
        f'"""`{contract.service}.{method}`."""',
        "",
        "from __future__ import annotations",
        "",
        "import asyncio",
        "from unittest.mock import Mock, create_autospec",
        "",
        *sorted(imports, key=lambda line: line.split()[1]),
        "",
        "",
        f"def test_{snake(method)}_answers_what_was_asked_for() -> None:",
        f"    servicer = create_autospec({name}, instance=True)",
        *(f"    {line}" for line in f"{given}\n{call}\nanswer = asyncio.run(call)".split("\n")),
        *(f'    assert answer.{each} == "{each}-1"' for each in fields),
        "",
    ]
    return "\n".join(lines)


def _module(project: Project, path: Path) -> str:
    return ".".join(path.relative_to(project.folder / "src").parts)


def _words_of(contract: Contract) -> tuple[str, str]:
    """Return what its module of messages is called there, and how its context is declared."""
    for each in reversed(contract.servicer_class.body):
        if isinstance(each, ast.AsyncFunctionDef) and len(each.args.args) == 3:
            request, context = each.args.args[1:]
            annotation = ast.unparse(request.annotation) if request.annotation else ""
            if annotation.endswith("Request") and "." in annotation:
                return annotation.rpartition(".")[0], ast.unparse(context)
    raise ConfigurationError(
        f"{contract.servicer.name}: {contract.servicer_class.name} has no method to go by, as"
        " `async def GetItem(self, request: pb.GetItemRequest, context: Context) -> pb.Item`"
    )


def _words(method: str) -> str:
    """Return `GetItem` as "Get item"."""
    text = snake(method).replace("_", " ")
    return text[0].upper() + text[1:]
