"""Fallback: an answer that is good enough, where the real one failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import ClassVar, TypeAlias, TypeVar, cast

from prodkit.call import Call
from prodkit.errors import Code, ConfigurationError, RejectedError, ServiceError, code_of
from prodkit.events import Event
from prodkit.options import checked_name
from prodkit.pipeline import Next
from prodkit.policies._failures import On, named_by, shown
from prodkit.traits import Trait

T = TypeVar("T")
Answer: TypeAlias = "Callable[[Call, Exception], object | Awaitable[object]]"
_OK, _CANCELLED = Code.OK, Code.CANCELLED  # an Enum's attributes are slow to reach


@dataclass(frozen=True, slots=True)
class FallbackUsed(Event):
    """A call that failed with `code`, and for `reason`, was answered by a substitute."""

    level: ClassVar[str] = "warning"  # the call goes well: no other line tells of the failure

    code: Code
    reason: str


class Fallback:
    """Answers with `answer(call, error)` where what is inside fails as `on` says.

    `on` names exception types, codes, both, or is a predicate of the call and its exception (None
    where the failure is a result: an HTTP status, read from `call.code`). There is no default: a
    fallback for everything hides the mistakes that nobody thought of. A code names exceptions
    (`code_of`) and results alike; that a call made on our behalf was refused counts as UNAVAILABLE.
    Cancellation is never answered, nor a stream whose first message has left.

    `answer` is a function, async or not, and makes each answer anew; it must return what the call
    would have, which no type checker sees. `error` is the exception, or a ServiceError that stands
    for the result that failed. It has the time that is left to the call: none, once a Deadline
    around it is missed; a Deadline inside leaves some. What it raises is raised from `error`: let
    it draw on something that does not fail together with what failed. Its answer ends the call as
    OK, without a status; FallbackUsed tells telemetry.

    Outermost of the policies that judge calls: around Retry and breaker, which would count its
    answers as successes. `name` tells fallbacks apart in metrics.
    """

    __slots__ = ("_answer", "_codes", "_policy", "_predicate", "_types", "name")

    traits = Trait.SUBSTITUTES

    def __init__(self, answer: Answer, *, on: On, name: str = "") -> None:
        self._answer = _checked(answer)
        self._predicate, self._types, self._codes = named_by(on)
        self.name = checked_name(name) if name != "" else name
        self._policy = f"fallback {name}" if name else "fallback"

    def reconfigure(self, *, answer: Answer | None = None, on: On | None = None) -> None:
        """Change what it answers, or to what, for the calls that fail from now on."""
        replacement = self._answer if answer is None else _checked(answer)
        if on is not None:
            self._predicate, self._types, self._codes = named_by(on)
        self._answer = replacement

    @property
    def exceptions(self) -> tuple[type[Exception], ...]:
        """The exception types that `on` names."""
        return self._types

    async def __call__(self, call: Call, proceed: Next[T], /) -> T:
        """Let `call` proceed, and answer it if that failed."""
        try:
            result = await proceed(call)
        except Exception as error:
            if not self._matches(call, error):
                raise
            failed: Exception = error
        else:
            if call.code is _OK and self._predicate is None:
                return result
            if not self._matches(call, None):
                return result
            failed = _told(call)
        return cast("T", await self._substitute(call, failed))

    async def _substitute(self, call: Call, error: Exception) -> object:
        try:
            answer = self._answer(call, error)
            if isawaitable(answer):
                answer = await answer
        except Exception as second:
            if second is error:
                raise
            raise second from error
        call.emit(FallbackUsed(self._policy, code_of(error), _reason(error)))
        call.code, call.status, call.retry_after = _OK, 0, None
        return answer

    def _matches(self, call: Call, error: Exception | None) -> bool:
        code = call.code if error is None else code_of(error)
        if code is _CANCELLED or call.streaming:
            return False
        if self._predicate is not None:
            return self._predicate(call, error)
        if isinstance(error, RejectedError) and not error.refuses(call):
            code = Code.UNAVAILABLE
        return code in self._codes or isinstance(error, self._types)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"Fallback({name}on {shown((self._predicate, self._types, self._codes))})"


def _told(call: Call) -> ServiceError:
    """Return the error that a failure which came as a result would have been."""
    status = f" (HTTP {call.status})" if call.status else ""
    error = ServiceError(
        f"the call ended as {call.code.name}{status}",
        code=call.code or Code.UNKNOWN,  # a predicate may refuse a result that went well
        retry_after=call.retry_after,
    )
    error.add_note(f"it was {call.operation}")
    return error


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, ServiceError) else type(error).__name__


def _checked(answer: Answer) -> Answer:
    if not callable(answer) or isinstance(answer, type):
        raise ConfigurationError(
            f"answer must be a function of a call and its error, lambda call, error: [] say, "
            f"not {answer!r}"
        )
    return answer
