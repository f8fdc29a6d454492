"""One statement as a transaction of its own: it needs no BEGIN, and no COMMIT."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from prodkit._tasks import complete

#: The execution option of engines that begin no transactions.
ALONE = "prodkit_alone"


async def fetch_alone(
    engine: AsyncEngine, statement: Executable, parameters: Any
) -> CursorResult[Any]:
    """Run a statement that reads; whoever is cancelled leaves without it."""
    connection = engine.connect()
    try:
        await complete(_start(connection))
        result: CursorResult[Any] = await connection.execute(statement, parameters)
        return result
    finally:
        # A connection whose statement was cancelled is not reused.
        if connection.sync_connection is not None:
            await complete(connection.close())


async def execute_alone(
    engine: AsyncEngine, statement: Executable, parameters: Any
) -> CursorResult[Any]:
    """Run a statement that may write, to its end: cut short, it might still happen later."""
    return await complete(_execute(engine, statement, parameters))


async def _execute(
    engine: AsyncEngine, statement: Executable, parameters: Any
) -> CursorResult[Any]:
    connection = await engine.connect().start()
    try:
        result: CursorResult[Any] = await connection.execute(statement, parameters)
        return result
    finally:
        await connection.close()


async def _start(connection: AsyncConnection) -> None:
    await connection.start()
