"""A PostgreSQL URL, for the programs that PostgreSQL brings: the password never among arguments."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from prodkit.errors import ConfigurationError, UnavailableError

_PLACE = "usr/lib/postgresql/*/bin"


@dataclass(frozen=True, slots=True, repr=False)
class PostgresUrl:
    """Where a database is; may name several hosts."""

    url: str

    def __repr__(self) -> str:
        return self.shown

    @property
    def database(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.url).path.removeprefix("/"))

    def to(self, database: str) -> PostgresUrl:
        """Return the URL of another database beside it."""
        return PostgresUrl(
            urlunsplit(urlsplit(self.url)._replace(path=f"/{quote(database, safe='')}"))
        )

    @property
    def shown(self) -> str:
        """The URL as libpq reads it: without the password, and without what only drivers know."""
        parts = urlsplit(self.url)
        credentials, at, hosts = parts.netloc.rpartition("@")
        netloc = f"{credentials.partition(':')[0]}{at}{hosts}"
        query = [(name, value) for name, value in parse_qsl(parts.query) if name.startswith("ssl")]
        if "," in hosts:
            query.append(("target_session_attrs", "read-write"))
        return urlunsplit(("postgresql", netloc, parts.path, urlencode(query), ""))

    @property
    def environment(self) -> dict[str, str]:
        """What a program finds the password in."""
        password = urlsplit(self.url).netloc.rpartition("@")[0].partition(":")[2]
        return {**os.environ, **({"PGPASSWORD": unquote(password)} if password else {})}


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, the newest there is."""
    for found in sorted(Path("/").glob(f"{_PLACE}/{name}"), reverse=True):
        return str(found)
    on_path = shutil.which(name)
    if on_path is None:
        raise ConfigurationError(
            f"{name} is not installed; on Debian: apt-get install postgresql-client"
        )
    return on_path


def start(command: Sequence[str], url: PostgresUrl) -> subprocess.Popen[str]:
    """Start one of PostgreSQL's programs on the database of `url`."""
    return subprocess.Popen(  # noqa: S603 - the command is ours
        [program(command[0]), *command[1:], "--no-password", f"--dbname={url.shown}"],
        env=url.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(running: subprocess.Popen[str]) -> None:
    """Wait for it; UnavailableError says in its last line why it failed."""
    _, said = running.communicate()
    if running.returncode:
        lines = [line for line in said.splitlines() if line.strip()]
        name = Path(str(running.args[0])).name if isinstance(running.args, list) else "it"
        raise UnavailableError(f"{name} failed: {lines[0] if lines else running.returncode}")
