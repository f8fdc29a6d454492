"""What settings are read from: files, and the environment above them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource


class SettingsError(Exception):
    """Settings that a service must not start with; `problems` has a line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Layer:
    """Some values and where they stand; layers are kept from the weakest to the strongest."""

    source: str
    values: Mapping[str, Any]

    def holds(self, path: Sequence[Any]) -> bool:
        """Say whether there is a value at `path`."""
        here: Any = self.values
        for step in path:
            try:
                here = here[step]
            except (KeyError, IndexError, TypeError):
                return False
        return True


def read_layers(
    cls: type[BaseSettings], directory: Path, environments: Collection[str]
) -> list[Layer]:
    """Return the files of `directory` and the environment; raise SettingsError for no YAML."""
    environment = Layer("the environment", _Environment(cls)())
    default = _yaml(directory / "default.yaml")
    chosen = str(
        environment.values.get("environment")
        or default.values.get("environment")
        or cls.model_fields["environment"].default
    )
    if chosen not in environments:  # it becomes a file name only when it is a known word
        return [default, environment]
    return [default, _yaml(directory / f"{chosen}.yaml"), environment]


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `below` with what `above` says; mappings are merged key by key."""
    merged = dict(below)
    for key, value in above.items():
        here = merged.get(key)
        if isinstance(here, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(here, value)
        else:
            merged[key] = value
    return merged


class _Environment(EnvSettingsSource):
    """Environment variables; text that is no JSON where JSON is due is left to the validation."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return json.loads(value)
        except ValueError:
            return value


def _yaml(path: Path) -> Layer:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return Layer(str(path), {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError([f"{path}{line}: not YAML"]) from None
    if values is None:
        return Layer(str(path), {})
    if not isinstance(values, dict):
        raise SettingsError([f"{path}: must be a mapping of keys to values"])
    return Layer(str(path), values)
