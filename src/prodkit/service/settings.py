"""Settings in layers, and a refusal to start that says which value is wrong and where it stands."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import reduce
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from prodkit.service.layers import Layer, SettingsError, merge, read_layers
from prodkit.service.mistyped import mistyped

__all__ = ["ServiceSettings", "SettingsError", "is_loopback", "load_settings", "read_settings"]

Environment = Literal["demo", "development", "test", "production"]
S = TypeVar("S", bound="ServiceSettings")


class ServiceSettings(BaseSettings):
    """What every service must be told; subclass it, and give `model_config` an `env_prefix`.

    Built directly it takes its arguments and nothing else, as tests want; `load_settings` adds
    the layers. Durations are seconds. Secrets are `SecretStr`; in production each of them must
    come from an environment variable. `demo` seeds known passwords, so it binds loopback alone.
    """

    model_config = SettingsConfigDict(
        env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    environment: Environment = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=9090, ge=0, le=65535)
    admin_token: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    drain_delay: float = Field(default=3.0, ge=0, le=300)
    drain_timeout: float = Field(default=20.0, gt=0, le=3600)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back; `load_settings` is the one who layers."""
        return (init_settings,)

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> Self:
        for name in ("host", "admin_host") if self.environment == "demo" else ():
            if not is_loopback(getattr(self, name)):
                raise ValueError(f"{name}: the demo has known passwords, so it binds 127.0.0.1")
        return self


def load_settings(cls: type[S], *, config_dir: str | Path = "config") -> S:
    """Return the settings of this process, or print what is wrong with them and exit with 2.

    Defaults < `<config_dir>/default.yaml` < `<config_dir>/<environment>.yaml` < environment
    variables (`<PREFIX>PORT`, `<PREFIX>DATABASE__URL` for nested ones). A variable that is nearly
    one of these is refused as a slip, and so is a folder of another name than the default that is
    not there. Call it first: before anything listens.
    """
    try:
        return read_settings(cls, config_dir=config_dir)
    except SettingsError as error:
        head = f"cannot start, {len(error.problems)} of the settings must be put right:"
        print(head, *(f"  {line}" for line in error.problems), sep="\n", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


def read_settings(cls: type[S], *, config_dir: str | Path = "config") -> S:
    """Return the settings as `load_settings` does; raise SettingsError where it would exit."""
    directory = Path(config_dir)
    if directory != Path("config") and not directory.is_dir():
        raise SettingsError([f"config_dir: there is no folder {directory}"])
    layers = read_layers(cls, directory, get_args(Environment))
    merged = reduce(merge, (layer.values for layer in layers))
    slips = mistyped(cls.model_config.get("env_prefix", ""), cls.model_fields, os.environ)
    try:
        settings = cls(**merged)
    except ValidationError as error:
        raise SettingsError([*slips, *(_problem(cls, layers, e) for e in error.errors())]) from None
    unfit = _unfit_secrets(settings, layers) if settings.environment == "production" else []
    if slips or unfit:
        raise SettingsError([*slips, *unfit])
    return settings


def _problem(cls: type[ServiceSettings], layers: Sequence[Layer], error: Any) -> str:
    """One line: key, what is allowed, source; never the value, which may be a secret."""
    path, kind = error["loc"], error["type"]
    if not path:
        return str(error["msg"]).removeprefix("Value error, ")
    key = ".".join(map(str, path))
    variable = _variable(cls, path)
    if kind == "missing":
        return f"{key}: required and not set; set {variable}"
    where = next((at.source for at in reversed(layers) if at.holds(path)), "the defaults")
    if where == "the environment":
        where = f"environment variable {variable}"
    if kind == "extra_forbidden":
        return f"{key}: no such key{_suggestion(cls, path)} (from {where})"
    return f"{key}: {error['msg']} (from {where})"


def _variable(cls: type[ServiceSettings], path: Sequence[Any]) -> str:
    prefix = cls.model_config.get("env_prefix", "")
    delimiter = cls.model_config.get("env_nested_delimiter") or "__"
    names = [part for part in path if isinstance(part, str)]
    return (prefix + delimiter.join(names)).upper()


def _suggestion(cls: type[BaseModel], path: Sequence[Any]) -> str:
    """Name the nearest key that exists, or all of them."""
    model = cls
    for step in path[:-1]:
        nested = _model_of(model.model_fields[step]) if step in model.model_fields else None
        if nested is None:
            return ""
        model = nested
    near = get_close_matches(str(path[-1]), model.model_fields, n=1)
    return f", did you mean {near[0]}?" if near else f"; known: {', '.join(model.model_fields)}"


def _unfit_secrets(settings: ServiceSettings, layers: Sequence[Layer]) -> list[str]:
    """Find what production refuses: secrets left to their default, or written into a file."""
    *files, environment = layers
    problems = []
    for path in _secrets(settings):
        if environment.holds(path):
            continue
        key, variable = ".".join(path), _variable(type(settings), path)
        file = next((layer.source for layer in files if layer.holds(path)), None)
        if file is not None:
            problems.append(f"{key}: a secret does not belong in {file}; set {variable}")
        else:
            problems.append(f"{key}: a secret has no default in production; set {variable}")
    return problems


def _secrets(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, SecretStr):
            yield (*path, name)
        elif isinstance(value, BaseModel):
            yield from _secrets(value, (*path, name))


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach `host`; a name that must be looked up is not it."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
