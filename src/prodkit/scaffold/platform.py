"""`platform.toml`: what a template of several services fixes, and what it leaves out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import Answers

#: What a platform may answer in its user's stead.
_FIXABLE = frozenset({"speaks", "state", "limiter", "broker", "deploy"})


class TemplateError(ConfigurationError):
    """A template is wrong; says where. It is ours or its writer's, not the user's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What a template adds to the skeleton; `without` are output paths that it has none of."""

    title: str = ""
    prefix: str = ""
    api: str = ""
    answers: Mapping[str, object] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()

    def settle(self, answers: Answers) -> Answers:
        """Return the answers with those that the template fixes."""
        return answers.having(self.answers)


def read_platform(file: Path) -> Platform:
    """Return what a `platform.toml` says; raise TemplateError where it is wrong."""
    try:
        told = tomllib.loads(file.read_text("utf-8"))
        return _platform(told)
    except TemplateError as error:
        raise TemplateError(f"{file}: {error}") from None
    except (OSError, ValueError, KeyError) as error:
        raise TemplateError(f"{file}: {error!r}") from error


def _platform(told: dict[str, object]) -> Platform:
    _only(told, "title", "prefix", "api", "answers", "project", "service", "services")
    answers, project = _table(told, "answers"), _table(told, "project")
    _only(answers, *_FIXABLE)
    _only(project, "without")
    left = _texts(project, "without")
    all_of = _table(told, "service")
    _only(all_of, "without")
    services = []
    for each in _tables(told, "services"):
        _only(each, "name", "without")
        name = str(each["name"])
        services.append(name)
        paths = _texts(all_of, "without") + _texts(each, "without")
        left += [path.replace("__service__", name) for path in paths]
    return Platform(
        title=str(told.get("title", "")),
        prefix=str(told.get("prefix", "")),
        api=str(told.get("api", "")),
        answers=answers,
        services=tuple(services),
        without=frozenset(left),
    )


def _only(table: Mapping[str, object], *known: str) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise TemplateError(f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _table(told: Mapping[str, object], key: str) -> dict[str, object]:
    value = told.get(key, {})
    if not isinstance(value, dict):
        raise TemplateError(f"{key} must be a table")
    return value


def _tables(told: Mapping[str, object], key: str) -> list[dict[str, object]]:
    value = told.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TemplateError(f"{key} must be tables, [[{key}]]")
    return value


def _texts(told: Mapping[str, object], key: str) -> list[str]:
    value = told.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TemplateError(f"{key} must be a list of strings")
    return list(value)
