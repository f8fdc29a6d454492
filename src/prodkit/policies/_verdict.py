"""When a call is judged: once, by its first message if one comes, else by its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prodkit.call import Call
from prodkit.pipeline import Next

T = TypeVar("T")


async def judged_once(
    call: Call, proceed: Next[T], judge: Callable[[Exception | None], object]
) -> T:
    """Let `call` proceed, and tell `judge` how it went: None at its first message, or its end.

    A call that is cancelled before either is not judged.
    """
    judged = False

    def first_message() -> None:
        nonlocal judged
        if not judged:
            judged = True
            judge(None)

    call.on_first_message(first_message)
    try:
        result = await proceed(call)
    except Exception as error:
        if not judged:
            judge(error)
        raise
    else:
        first_message()
        return result
    finally:
        judged = True
