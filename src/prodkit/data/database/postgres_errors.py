"""What PostgreSQL, its driver and the network say, in our words: without passwords or values."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asyncpg import exceptions as driver

from prodkit.data.database.engines import REFUSED, unavailable
from prodkit.data.database.transaction import TransactionConflictError
from prodkit.errors import ConfigurationError

#: Why a connection was not made: what answers there takes no writes.
READ_ONLY = "DATABASE_READ_ONLY"
_LOST = "lost its connection: what was under way may have happened or not"
#: By SQLSTATE or its class: the database cannot serve now.
_AWAY = {
    "08": _LOST,
    "25P03": "ended a transaction that had been idle for too long",
    "53300": "has no connection left for us: lower `pool`, or raise its max_connections",
    "53100": "has no space left",
    "53": "has no resources left",
    "55P03": "is locked: a row or table did not come free in time",
    "57014": "took too long for a statement, which was ended",
    "57": "is shutting down or starting",
    "58": "cannot read or write its files",
}
#: The same of a connection that is being made, where changing something is all that helps.
_REFUSED = {
    "28": "refuses the user, or knows another password; check the URL",
    "3D000": "does not exist: create it, or check the URL",
    "42501": "does not let the user connect: grant CONNECT, or check the URL",
    "42704": "does not know one of the settings in the URL",
}
_CONFLICTS = {
    "40001": "was changed by another transaction",
    "40P01": "was locked by another transaction that waited for this one",
}


@contextmanager
def connecting(name: str, shown: str) -> Iterator[None]:
    """Raise UnavailableError for whatever keeps a connection from being made."""
    try:
        yield
    except driver.PostgresError as error:
        state = getattr(error, "sqlstate", None) or ""
        if refused := _find(_REFUSED, state):
            raise unavailable(name, refused, where=shown, reason=REFUSED) from error
        trouble = _find(_AWAY, state) or "does not accept connections"
        raise unavailable(name, trouble, where=shown) from error
    except driver.TargetServerAttributeNotMatched as error:
        why = "has no server that takes writes: has a standby been promoted?"
        raise unavailable(name, why, where=shown, reason=READ_ONLY) from error
    except TimeoutError as error:
        raise unavailable(name, "does not answer", where=shown) from error
    except OSError as error:
        why = "cannot be reached: is it running, and are host and port right?"
        raise unavailable(name, why, where=shown) from error
    except (ValueError, TypeError, driver.InterfaceError):
        # Their messages quote the URL, with the password in it.
        why = "has a URL that cannot be read: postgresql://user:password@host:port/name"
        raise unavailable(name, why, reason=REFUSED) from None


def translated(name: str, shown: str, context: Any) -> Exception | None:
    """Return our error for SQLAlchemy's context of one, None if the error is the statement's own.

    A connection whose fate is unknown is disconnected: the pool must not have it back.
    """
    error = context.original_exception
    if context.is_disconnect or isinstance(error, TimeoutError | CancelledError | OSError):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False  # each connection finds out by itself
    if isinstance(error, TimeoutError):
        return unavailable(name, "does not answer", where=shown)
    _hide_values(error)
    state = getattr(error, "sqlstate", None) or ""
    if state == "25006" and _may_write(context):
        # The server was demoted under us: all that are connected to it must look for its successor.
        context.is_disconnect = context.invalidate_pool_on_disconnect = True
        return unavailable(name, "takes no writes any more", where=shown)
    if state in _CONFLICTS:
        return TransactionConflictError(f"{name} {_CONFLICTS[state]}")
    if isinstance(error.__cause__, driver.InvalidCachedStatementError):
        return TransactionConflictError(f"{name} changed its schema meanwhile")
    if state == "42P01":
        return ConfigurationError(f"{name}: {_first_line(error)}: has its schema been migrated?")
    if trouble := _find(_AWAY, state):
        return unavailable(name, trouble)
    if isinstance(error, OSError) or (context.is_disconnect and isinstance(error, Exception)):
        return unavailable(name, _LOST)
    return None


def _may_write(context: Any) -> bool:
    """Say whether the transaction was to write, and is not read-only because we asked for that."""
    connection = getattr(context, "connection", None)  # whoever goes past SQLAlchemy has none
    return not (connection and connection.get_execution_options().get("postgresql_readonly"))


def _find(table: dict[str, str], state: str) -> str | None:
    return table.get(state) or table.get(state[:2])


def _hide_values(error: Any) -> None:
    """Take the values of rows out of an error: "Key (email)=(...) already exists"."""
    for each in (error, error.__cause__):
        if getattr(each, "detail", None) is not None:
            each.detail = None


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).partition("\n")[0]
