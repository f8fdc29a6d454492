"""What a project was asked for: the answers that its files are made from."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields

from prodkit.errors import ConfigurationError
from prodkit.scaffold.dependency import INDEX, check_place
from prodkit.scaffold.names import names_of, service_of
from prodkit.scaffold.reserved import check_service

#: What may be answered; the first is the default.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "template": ("service", "ecommerce"),
    "speaks": ("http", "grpc", "events"),
    "state": ("sqlite", "none", "postgres"),
    "limiter": ("memory", "redis"),
    "broker": ("memory", "rabbitmq"),
}
#: Those that take one of their choices.
ONE_OF = CHOICES.keys() - {"speaks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What `prodkit new` was told. Raises ConfigurationError for what cannot be.

    `services` are packages; the first one of a project is called as the project. A template of
    several services brings its own, and `services` holds what was added to them.
    """

    name: str
    template: str = "service"
    services: tuple[str, ...] = ()
    speaks: tuple[str, ...] = ("http",)
    state: str = "sqlite"
    limiter: str = "memory"
    broker: str = "memory"
    deploy: bool = False
    prodkit: str = INDEX

    def __post_init__(self) -> None:
        names = names_of(self.name)
        check_place(self.prodkit)
        for option in sorted(ONE_OF):
            check_choice(option, getattr(self, option))
        object.__setattr__(self, "speaks", check_speaks(self.speaks))
        if not self.services and self.template == "service":
            object.__setattr__(self, "services", (names.package,))
        for service in self.services:
            _check_service(service)
        if len(set(self.services)) != len(self.services):
            raise ConfigurationError(f"two services have one name: {', '.join(self.services)}")
        if self.broker != "memory" and "events" not in self.speaks:
            raise ConfigurationError(
                f"broker {self.broker} is for events, and speaks is {', '.join(self.speaks)}"
            )

    @classmethod
    def from_toml(cls, text: str) -> Answers:
        """Return the answers that `.prodkit.toml` records; raise ConfigurationError."""
        try:
            told = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"it is no TOML: {error}") from None
        told.pop("version", None)
        return cls.from_values(told)

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Answers:
        """Return the answers that `values` give, as TOML has them; raise ConfigurationError."""
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ConfigurationError(
                f"no answer is called {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        if "name" not in values:
            raise ConfigurationError("the answers have no name")
        plain = cls(name=_text("name", values["name"]))

        def text(option: str, default: str) -> str:
            return _text(option, values.get(option, default))

        return cls(
            name=plain.name,
            template=text("template", plain.template),
            services=_texts("services", values.get("services", ())),
            speaks=_texts("speaks", values.get("speaks", plain.speaks)),
            state=text("state", plain.state),
            limiter=text("limiter", plain.limiter),
            broker=text("broker", plain.broker),
            deploy=_truth("deploy", values.get("deploy", plain.deploy)),
            prodkit=text("prodkit", plain.prodkit),
        )

    def having(self, values: Mapping[str, object]) -> Answers:
        """Return these answers with `values` in their place; raise ConfigurationError."""
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return Answers.from_values({**told, **values})

    def to_toml(self, *, without: frozenset[str] = frozenset()) -> str:
        """Return the answers as TOML; `without` are those that the template fixes."""
        return "".join(
            f"{each.name} = {_written(getattr(self, each.name))}{_remark(each.name)}\n"
            for each in fields(self)
            if each.name not in without
        )


def check_choice(option: str, value: str) -> None:
    """Raise ConfigurationError for what is no choice of `option`."""
    if value not in CHOICES[option]:
        raise ConfigurationError(f"{option} is {' or '.join(CHOICES[option])}, not {value!r}")


def check_speaks(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return them in one order, each once; raise ConfigurationError for none, or others."""
    known = CHOICES["speaks"]
    wrong = [value for value in values if value not in known]
    if wrong or not values:
        said = ", ".join(map(repr, wrong)) or "nothing"
        raise ConfigurationError(f"speaks is one or more of {', '.join(known)}, not {said}")
    return tuple(value for value in known if value in values)


def _check_service(service: str) -> None:
    if service_of(service.replace("_", "-")) != service:
        raise ConfigurationError(f"a service is recorded by its package, not as {service!r}")
    check_service(service)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {value!r}")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise ConfigurationError(f"{name} must be a list of strings, not {value!r}")
    return tuple(value)


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be true or false, not {value!r}")
    return value


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value)  # strings and booleans are the same in TOML


def _remark(name: str) -> str:
    return f"  # {', '.join(CHOICES[name])}" if name in CHOICES else ""
