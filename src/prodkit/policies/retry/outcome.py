"""How an attempt ended, and the mark of what was repeated in vain."""

from __future__ import annotations

from typing import Final, Generic, TypeVar, cast

from prodkit.call import CURRENT, Call
from prodkit.errors import RejectedError, ServiceError, add_note, code_of

T = TypeVar("T")

#: The key under which a failure says, in `ServiceError.metadata`, that it was retried in vain.
#: Doors carry metadata; whoever reads it further up does not repeat.
RETRY_MARK = "prodkit-retry"
_MARK_OF_ANSWER = f"x-{RETRY_MARK}"
#: How many errors are looked at for a mark: who translates does it a few times, not a hundred.
_MOST = 50


class Marks:
    """How many failures were marked in this process.

    Some errors are raised again and again: constants, the `side_effect` of a mock. They bear the
    number of their latest mark, and one from before the call says nothing of it.
    """

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = 0


MARKS: Final = Marks()


class Outcome(Generic[T]):
    """How one attempt ended: with a result or an error, and what the callee asked for."""

    __slots__ = ("code", "error", "refused", "result", "retry_after")

    def __init__(self, call: Call, error: Exception | None, result: T | None) -> None:
        self.error = error
        self.result = result
        self.code = call.code if error is None else code_of(error)
        self.refused = isinstance(error, RejectedError) and error.refuses(call)
        asked = error.retry_after if isinstance(error, ServiceError) else None
        self.retry_after = call.retry_after if asked is None else asked

    def hand_back(self, call: Call, note: str) -> T:
        """Return the result or raise the error, as if this had been the only attempt."""
        if self.error is not None:
            add_note(self.error, note)
            raise self.error
        call.code, call.retry_after = self.code, self.retry_after
        return cast("T", self.result)


def is_marked(error: BaseException, handled: BaseException | None, before: int) -> bool:
    """Say whether somebody nearer to the failure repeated it, or what it was made of, in vain.

    Handlers translate failures and gather them in groups. `handled` is what the caller was dealing
    with when the call began: Python puts it behind whatever is raised, and it is no part of that.
    `before` is how many marks were made by then.
    """
    seen, others = {id(handled)}, [error]
    while others and len(seen) < _MOST:
        one = others.pop()
        if id(one) in seen:
            continue
        if _bears_mark(one, before):
            return True
        seen.add(id(one))
        others += (each for each in (one.__context__, one.__cause__) if each is not None)
        if isinstance(one, BaseExceptionGroup):
            others += one.exceptions
    return False


def mark(error: Exception) -> None:
    """Tell whoever is further up that this was repeated in vain."""
    MARKS.made += 1
    vars(error)[RETRY_MARK] = MARKS.made
    if isinstance(error, ServiceError):
        error.metadata = {**error.metadata, RETRY_MARK: "exhausted"}


def mark_answer() -> None:
    """Have the answer to the call being served say so too, whatever its handler makes of a failure.

    A result has no metadata, and handlers raise errors of their own. Nothing to strangers.
    """
    inbound = CURRENT.get()
    if inbound is not None and not inbound.edge:
        inbound.annotate(_MARK_OF_ANSWER, "exhausted")


def _bears_mark(error: BaseException, before: int) -> bool:
    """Say whether `error` was marked here since `before`, or came over the wire with a mark."""
    number = vars(error).get(RETRY_MARK)
    if isinstance(number, int):
        return number > before
    return isinstance(error, ServiceError) and RETRY_MARK in error.metadata
