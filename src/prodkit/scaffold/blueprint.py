"""From answers to what is made from what: a source for every file of the project."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import prodkit
from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.dependency import INDEX, is_direct, requirement
from prodkit.scaffold.names import names_of
from prodkit.scaffold.platform import Platform, TemplateError, read_platform

#: The ending of what is rendered; all else is copied.
RENDERED = ".jinja"
_BASE = "base"
#: The template that is the skeleton and one service, and no more.
_SKELETON = "service"
_IGNORED = frozenset({"__pycache__", ".DS_Store"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: where it comes from, where it goes, and the names that it may use.

    `home` is the folder that bears the name of the service, where the file lies in one.
    """

    source: Path
    output: str
    context: Mapping[str, object]
    home: str = ""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All files of a project, sorted by where they go; the answers, settled by the template."""

    answers: Answers
    fixed: frozenset[str]
    entries: tuple[Entry, ...]


def templates() -> Path:
    """Return the root of the templates: in the package, or beside the source where it lies."""
    package = Path(prodkit.__file__).parent
    for folder in (package / "templates", package.parents[1] / "templates"):
        if folder.is_dir():
            return folder
    raise TemplateError(f"{package} has no templates: prodkit is not installed whole")


def platform_of(template: str, *, root: Path | None = None) -> Platform:
    """Return what a template fixes; the skeleton alone, a service, fixes nothing."""
    if template == _SKELETON:
        return Platform()
    return read_platform((root or templates()) / template / "platform.toml")


def features_of(answers: Answers) -> dict[str, bool]:
    """Return every feature, and whether it is on."""
    speaks = answers.speaks
    return {
        "http": "http" in speaks,
        "grpc": "grpc" in speaks,
        "events": "events" in speaks,
        "contract": "grpc" in speaks,
        "state": answers.state != "none",
        "postgres": answers.state == "postgres",
        "redis": answers.limiter == "redis",
        "rabbitmq": answers.broker == "rabbitmq",
        "deploy": answers.deploy,
    }


def draw(answers: Answers, *, root: Path | None = None) -> Blueprint:
    """Return what a project is made from.

    Raises TemplateError where two sources make one file, or a template names what is not there,
    and ConfigurationError for a service that has the name of a part of the project.
    """
    root = root or templates()
    platform = platform_of(answers.template, root=root)
    answers = platform.settle(answers)
    features = features_of(answers)
    context = _context(answers, platform, features)
    frame = [
        entry for layer in _layers(root / "project", features) for entry in _files(layer, context)
    ]
    services = list(_service_files(root / "service", features, context))
    own: tuple[Entry, ...] = ()
    if answers.template != _SKELETON:
        own = tuple(_files(root / answers.template / "files", context))
    _check_names(frame, services)
    _check_names(own, [each for each in services if each.context["service"] in answers.services])
    skeleton = _unique((*frame, *services))
    whole = _unique((*_without(skeleton, platform, context), *own))
    return Blueprint(answers, frozenset(platform.answers), whole)


def _services(answers: Answers, platform: Platform) -> tuple[str, ...]:
    return (*platform.services, *answers.services)


def _context(
    answers: Answers, platform: Platform, features: Mapping[str, bool]
) -> dict[str, object]:
    names = names_of(answers.name)
    return {
        "name": names.name,
        "command": names.name,
        "package": names.package,
        "prefix": platform.prefix or names.prefix,
        "title": platform.title or names.title,
        "api": platform.api,
        "services": list(_services(answers, platform)),
        "prodkit": requirement(answers.prodkit),
        "requirement": partial(requirement, answers.prodkit),
        "direct": is_direct(answers.prodkit),
        "index": INDEX,
        "version": prodkit.__version__,
        "features": [name for name, on in features.items() if on],
        **features,
    }


def _service_files(
    folder: Path, features: Mapping[str, bool], context: Mapping[str, object]
) -> Iterator[Entry]:
    services = context["services"]
    assert isinstance(services, list)
    for layer in _layers(folder, features):
        for service in services:
            yield from _files(layer, {**context, "service": service})


def _check_names(frame: Iterable[Entry], services: Iterable[Entry]) -> None:
    """Raise ConfigurationError for a service whose folder the project has for something else."""
    outputs = [entry.output for entry in frame]
    taken = {parent.as_posix() for output in outputs for parent in Path(output).parents}
    taken |= {output.removesuffix(".py") for output in outputs}
    for entry in services:
        if entry.home in taken:
            raise ConfigurationError(
                f"a service cannot be called {entry.context['service']}: the project has a part of"
                f" that name, {entry.home}"
            )


def _layers(folder: Path, features: Mapping[str, bool]) -> Iterator[Path]:
    """Yield the layers that are on: `base`, or features joined by `+`, `no-` before one."""
    for layer in sorted(folder.iterdir()) if folder.is_dir() else ():
        if layer.name in _IGNORED:
            continue
        terms = [] if layer.name == _BASE else layer.name.split("+")
        unknown = [term for term in terms if term.removeprefix("no-") not in features]
        if unknown or not layer.is_dir():
            raise TemplateError(f"{layer} is no layer; features are {', '.join(features)}")
        if all(features[term.removeprefix("no-")] != term.startswith("no-") for term in terms):
            yield layer


def _files(layer: Path, context: Mapping[str, object]) -> Iterator[Entry]:
    for folder, folders, names in os.walk(layer):
        folders[:] = sorted(set(folders) - _IGNORED)
        for name in sorted(set(names) - _IGNORED):
            source = Path(folder, name)
            path = source.relative_to(layer).as_posix().removesuffix(RENDERED)
            before, home, _ = f"/{path}".partition("/__service__/")
            yield Entry(
                source,
                _placed(path, source, context),
                context,
                _placed(f"{before}{home}".strip("/"), source, context) if home else "",
            )


def _placed(path: str, source: object, context: Mapping[str, object]) -> str:
    for word in ("package", "service"):
        if f"__{word}__" in path:
            if word not in context:
                raise TemplateError(f"{source}: no {word} is meant there")
            path = path.replace(f"__{word}__", str(context[word]))
    return path


def _without(
    entries: tuple[Entry, ...], platform: Platform, context: Mapping[str, object]
) -> Iterator[Entry]:
    left = {_placed(path, "platform.toml", context) for path in platform.without}
    if unknown := sorted(left - {entry.output for entry in entries}):
        raise TemplateError(f"platform.toml leaves out what is not there: {', '.join(unknown)}")
    return (entry for entry in entries if entry.output not in left)


def _unique(entries: Iterator[Entry] | tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Return them by their output; two of one output, or a file where a folder is, are a fault."""
    found: dict[str, Entry] = {}
    for entry in entries:
        other = found.setdefault(entry.output, entry)
        if other is not entry:
            raise TemplateError(f"{other.source} and {entry.source} both make {entry.output}")
    for output, entry in found.items():
        for parent in map(Path.as_posix, Path(output).parents):
            blocking = found.get(parent) or found.get(f"{parent}.py")
            if blocking:
                raise TemplateError(
                    f"{blocking.source} makes {blocking.output}, and {entry.source} a folder"
                    " of that name"
                )
    return tuple(found[output] for output in sorted(found))
