"""The libraries that prodkit is put beside, and how to say which of them are here."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

#: As on the package index; `requirements/bench.lock` pins them.
PEERS = (
    "aiobreaker",
    "aiocache",
    "aiodataloader",
    "aiolimiter",
    "async-lru",
    "backoff",
    "cashews",
    "circuitbreaker",
    "hyx",
    "interlock-cb",
    "limits",
    "nopanic",
    "purgatory",
    "pybreaker",
    "slowapi",
    "stamina",
    "tenacity",
    "throttled-py",
)

#: What each server is asked for its version.
SERVERS = {
    "Redis": ["redis-server", "--version"],
    "PostgreSQL": ["sh", "-c", "/usr/lib/postgresql/*/bin/postgres --version"],
    "RabbitMQ": ["dpkg-query", "--show", "--showformat=${Version}", "rabbitmq-server"],
}


def versioned(name: str) -> str:
    """Return the name of a peer with its version, any other as it is."""
    if name not in PEERS:
        return name
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (not installed)"


def is_peer(error: ModuleNotFoundError) -> bool:
    """Say whether it is a peer that is not installed; a part of prodkit that is gone is a fault."""
    return (error.name or "").partition(".")[0] != "prodkit"


def surroundings() -> str:
    """Return the machine, the interpreter and the date, for the head of a page."""
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.partition(":")[2].strip() for line in cpuinfo if "model name" in line]
    cores = os.cpu_count()
    return (
        f"{datetime.now(UTC):%d %B %Y}, {cores} cores of {models[0] if models else 'a machine'}, "
        f"{platform.system()} {platform.release().partition('-')[0]}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def versions(names: Sequence[str]) -> str:
    """Return these libraries with their versions, in one sentence's worth."""
    return ", ".join(f"{name} {version(name)}" for name in names)


def server_versions() -> str:
    """Return the servers that private ones are started from, with their versions."""
    found = []
    for name, command in SERVERS.items():
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        number = re.search(r"\d+\.\d+(\.\d+)?", said)
        found.append(f"{name} {number[0] if number else 'of unknown version'}")
    return ", ".join(found)


def libraries() -> str:
    """Return every peer with its version, in one sentence's worth."""
    return ", ".join(versioned(name) for name in PEERS)
