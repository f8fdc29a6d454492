"""How one SELECT is asked: by itself (`Database.fetch`), or in a transaction (`execute`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from sqlalchemy import CursorResult, Select

Ask: TypeAlias = Callable[[Select[*tuple[Any, ...]]], Awaitable[CursorResult[Any]]]
