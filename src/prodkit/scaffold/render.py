"""From a blueprint to the files themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import prodkit
from prodkit.scaffold.answers import Answers
from prodkit.scaffold.blueprint import RENDERED, Entry, draw
from prodkit.scaffold.platform import TemplateError
from prodkit.scaffold.record import LOCK, RECORD, lock_text, record_text

if TYPE_CHECKING:
    from jinja2 import Environment, Template


@dataclass(frozen=True, slots=True)
class File:
    """What a file holds, and whether it is run."""

    content: bytes
    executable: bool = False


def render(answers: Answers, *, root: Path | None = None) -> dict[str, File]:
    """Return the files of a project by their paths, sorted; its record and its lock are two.

    Raises TemplateError for a template that is wrong.
    """
    blueprint = draw(answers, root=root)
    files = {entry.output: _file(entry) for entry in blueprint.entries}
    if taken := {RECORD, LOCK} & files.keys():
        raise TemplateError(f"no template makes {', '.join(sorted(taken))}: prodkit does")
    told = blueprint.answers.to_toml(without=blueprint.fixed)
    lock = lock_text({path: file.content for path, file in files.items()})
    files[RECORD] = File(record_text(prodkit.__version__, told).encode())
    files[LOCK] = File(lock.encode())
    return dict(sorted(files.items()))


def _file(entry: Entry) -> File:
    executable = bool(entry.source.stat().st_mode & 0o100)
    content = entry.source.read_bytes()
    if entry.source.name.endswith(RENDERED):
        content = _rendered(entry, content.decode()).encode()
    return File(content, executable)


def _rendered(entry: Entry, text: str) -> str:
    from jinja2 import TemplateError as JinjaError

    try:
        return _template(text).render(entry.context)
    except JinjaError as error:
        line = getattr(error, "lineno", None)
        where = f"{entry.source}:{line}" if line else str(entry.source)
        raise TemplateError(f"{where}: {error.message}") from error


@lru_cache(maxsize=1024)  # compiling is most of the work, and services are made of the same
def _template(text: str) -> Template:
    return _environment().from_string(text)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined, select_autoescape

    environment = Environment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=select_autoescape((), default_for_string=False),  # it is no HTML
    )
    filters: dict[str, Callable[[str], str]] = {"camel": _camel, "kebab": _kebab}
    environment.filters.update(filters)
    return environment


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _kebab(name: str) -> str:
    return name.replace("_", "-")
