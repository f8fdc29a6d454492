"""How a database is given one statement: by itself, or in a transaction that is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from sqlalchemy import CursorResult, Executable, Select

#: `Database.fetch`, or the `execute` of a transaction.
Ask: TypeAlias = Callable[[Select[*tuple[Any, ...]]], Awaitable[CursorResult[Any]]]
#: `Database.execute`, or the `execute` of a transaction.
Tell: TypeAlias = Callable[[Executable], Awaitable[CursorResult[Any]]]
