"""Where a generated project takes prodkit from: the index, a wheel, a folder or a repository."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from prodkit.errors import ConfigurationError

#: What the package index calls prodkit.
INDEX = "prodkit-services"
_ALLOWED = f"{INDEX}, a wheel, a folder of prodkit's source, or a git URL"
_SCHEMES = ("https", "http", "ssh", "git", "file")
#: What RFC 3986 lets stand in a URL: none of it ends a string of TOML, or is a field to hatchling.
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def located(spec: str) -> str:
    """Return `--prodkit SPEC` as it is recorded: INDEX, or a URL that holds from any folder.

    Raises ConfigurationError for what does not exist, is not prodkit, or holds a password.
    """
    if spec == INDEX:
        return spec
    if re.fullmatch(r"[\w.-]+@[\w.-]+:[^/].*", spec):  # as git writes it: git@host:path
        user, _, path = spec.partition(":")
        return _url(f"git+ssh://{user}/{path}")
    if "://" in spec:
        return _url(spec)
    return _path(Path(os.path.expanduser(spec)))


def check_place(place: str) -> None:
    """Raise ConfigurationError for what `located` never returns: it goes into pyproject.toml."""
    if place != INDEX and not ("://" in place and _URL.fullmatch(place)):
        raise ConfigurationError(
            f"prodkit is {INDEX}, or a URL of letters, digits and -._~:/?#[]@!$&'()*+,;=, all else"
            f" percent-encoded, not {place!r}"
        )


def requirement(place: str, extras: str = "") -> str:
    """Return the line of pyproject.toml's `dependencies` that asks for prodkit with `extras`."""
    asked = f"{INDEX}[{extras}]" if extras else INDEX
    return asked if place == INDEX else f"{asked} @ {place}"


def is_direct(place: str) -> bool:
    """Say whether hatchling must be told that a requirement names a place."""
    return place != INDEX


def _url(spec: str) -> str:
    try:
        parts = urlsplit(spec)
        secret = parts.password
    except ValueError as error:
        raise ConfigurationError(f"--prodkit is no URL: {error}") from None
    if secret is not None:
        raise ConfigurationError("--prodkit must hold no password: it is written into the project")
    tool, _, scheme = parts.scheme.rpartition("+")
    if parts.username not in (None, "git") and scheme in ("http", "https"):
        raise ConfigurationError("--prodkit must hold no token: it is written into the project")
    if not _URL.fullmatch(spec):
        raise ConfigurationError(
            f"--prodkit: {spec!r} is no URL: write what is no letter, digit or sign of URLs as"
            " percent and two digits, a space as %20"
        )
    if scheme not in _SCHEMES or tool not in ("", "git"):
        raise ConfigurationError(f"--prodkit is {_ALLOWED}, not {spec!r}")
    if tool == "git" or parts.path.endswith((".whl", ".tar.gz")):
        return spec
    if scheme in ("ssh", "git") or re.search(r"\.git(@[^@/]+)?$", parts.path):
        return f"git+{spec}"
    if scheme == "file":
        return spec
    raise ConfigurationError(f"--prodkit is {_ALLOWED} (git+https://...), not {spec!r}")


def _path(path: Path) -> str:
    if path.is_dir():
        if not _is_source(path):
            raise ConfigurationError(f"--prodkit: {path} is no folder of prodkit's source")
    elif not path.is_file():
        raise ConfigurationError(f"--prodkit is {_ALLOWED}; there is no {path}")
    elif not re.fullmatch(r"prodkit_services-.+(\.whl|\.tar\.gz)", path.name):
        raise ConfigurationError(f"--prodkit: {path} is no wheel of {INDEX}")
    return path.resolve().as_uri()


def _is_source(folder: Path) -> bool:
    try:
        told = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    project = told.get("project")
    return isinstance(project, dict) and project.get("name") == INDEX
