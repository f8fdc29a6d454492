"""Pool and time limits of a PostgreSQL database."""

from __future__ import annotations

from dataclasses import dataclass

from prodkit.clock import seconds
from prodkit.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Pool and time limits of a PostgreSQL database; times are seconds.

    At most `pool` + `overflow` connections; those above `pool` are closed when they come back,
    which costs more than it saves unless bursts are rare. `connect` bounds the making of a
    connection, with each of several hosts. The server ends a `statement` that takes longer, one
    that waits for a `lock` longer, and a transaction that is `idle_in_transaction` longer. A server
    that says nothing (hung, or behind a dead network) is given up 0.25 seconds after `statement`:
    by default within 2 seconds. Long statements belong to a `Database` of their own. Keep `lock`
    above the server's deadlock_timeout (a second, unless set): below it, deadlocks read as rows
    that do not come free, which `UnitOfWork.run` does not repeat.
    """

    pool: int = 10
    overflow: int = 0
    connect: float = 1.5
    statement: float = 1.5
    lock: float = 1.25
    idle_in_transaction: float = 5.0

    def __post_init__(self) -> None:
        for option, least in (("pool", 1), ("overflow", 0)):
            value = getattr(self, option)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"{option} must be at least {least}, not {value!r}")
        for option in ("connect", "statement", "lock", "idle_in_transaction"):
            if seconds(option, getattr(self, option)) < 0.001:
                raise ConfigurationError(f"{option} must be at least 0.001 seconds")

    def server_settings(self, name: str) -> dict[str, str]:
        """Return what a connection asks of the server as it begins."""
        return {
            "application_name": name[:63],
            "statement_timeout": _milliseconds(self.statement),
            "lock_timeout": _milliseconds(self.lock),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction),
        }


def _milliseconds(value: float) -> str:
    return str(round(value * 1000))
