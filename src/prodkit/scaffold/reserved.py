"""What no service may be called: parts that every project has, or may come to have."""

from __future__ import annotations

from collections.abc import Mapping

from prodkit.errors import ConfigurationError

_CONTRACT = "a contract of that name would hide {name}'s own, which all contracts use"
_PATHS = "HTTP doors and the admin port answer at /{name}"
_PARTS = "the project has a part of that name, which health, logs and metrics tell of"
_CONTAINERS = "a container beside its own is called so"
_FILES = "{name}.db is where the events are kept"

#: Why, by name. A part of the project that is a file or a folder is found where it is drawn.
RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("buf", "google", "prodkit"), _CONTRACT),
    **dict.fromkeys(("admin", "api", "health", "metrics"), _PATHS),
    **dict.fromkeys(("front", "outside", "platform", "rpc", "shared", "telemetry"), _PARTS),
    **dict.fromkeys(("migrate", "nginx", "postgres", "rabbitmq", "redis"), _CONTAINERS),
    "broker": _FILES,
}


def check_service(service: str) -> None:
    """Raise ConfigurationError for a service that has the name of a part of every project."""
    if reason := RESERVED.get(service):
        raise ConfigurationError(
            f"a service cannot be called {service}: {reason.format(name=service)}; take another, as"
            f" {service}-service"
        )
