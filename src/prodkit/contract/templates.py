"""The path templates of google.api.http: `/v1/{name=shelves/*}:close`, read and taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prodkit.errors import ConfigurationError

_VARIABLE = re.compile(r"\{([a-z][a-zA-Z0-9_.]*)(?:=([^{}]+))?\}")
_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=@%-]+")
#: What stands between two slashes; those inside of braces do not count.
_PART = re.compile(r"/((?:[^/{}]|\{[^{}]*\})*)")
_VERB = re.compile(r":([A-Za-z][A-Za-z0-9_-]*)$")

ONE, REST = "*", "**"


@dataclass(frozen=True, slots=True)
class Variable:
    """A field that takes its value from segments `start` to `stop` (None: to the end)."""

    field: str
    start: int
    stop: int | None


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A template as segments (literals, `*`, and a last `**`), variables and a custom verb.

    `text` is the template as it was written; telemetry counts requests by it.
    """

    text: str
    segments: tuple[str, ...]
    variables: tuple[Variable, ...]
    verb: str

    @property
    def static(self) -> bool:
        """Say whether the template is one path."""
        return ONE not in self.segments and REST not in self.segments

    @property
    def shape(self) -> str:
        """What two templates have in common that match the same paths."""
        return "/" + "/".join(self.segments) + (f":{self.verb}" if self.verb else "")


def parse_template(text: str) -> PathTemplate:
    """Read a template; ConfigurationError, which quotes it, if it is none."""
    verb = _VERB.search(text)
    path = text[: verb.start()] if verb else text
    if not path.startswith("/"):
        raise ConfigurationError(f"path template {text!r} must begin with a slash")
    parts = _PART.findall(path) if path != "/" else []
    if parts and "/" + "/".join(parts) != path:
        raise ConfigurationError(f"path template {text!r} has unbalanced braces")
    segments: list[str] = []
    variables: list[Variable] = []
    for part in parts:
        variable = _VARIABLE.fullmatch(part)
        inner = (variable[2] or ONE).split("/") if variable else [part]
        if variable:
            stop = None if inner[-1] == REST else len(segments) + len(inner)
            variables.append(Variable(variable[1], len(segments), stop))
        segments.extend(inner)
    template = PathTemplate(text, tuple(segments), tuple(variables), verb[1] if verb else "")
    _check(template)
    return template


def _check(template: PathTemplate) -> None:
    for position, segment in enumerate(template.segments):
        last = position == len(template.segments) - 1
        known = segment == ONE or (segment == REST and last)
        if not known and (REST in segment or not _LITERAL.fullmatch(segment) or "*" in segment):
            raise ConfigurationError(
                f"path template {template.text!r}: {segment!r} cannot stand there"
            )
    fields = [variable.field for variable in template.variables]
    if len(set(fields)) < len(fields):
        raise ConfigurationError(f"path template {template.text!r} binds a field twice")
