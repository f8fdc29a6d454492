"""Which failures a Retry repeats: what its option `on` names."""

from __future__ import annotations

from prodkit.call import Call
from prodkit.errors import Code, RejectedError, code_of
from prodkit.policies._failures import On, named_by, shown

__all__ = ["Failures", "On"]


class Failures:
    """What `on` names: exception types, codes, both, or a predicate of call and error."""

    __slots__ = ("_codes", "_refusals", "predicate", "text", "types")

    def __init__(self, on: On) -> None:
        named = named_by(on)
        self.predicate, self.types, self._codes = named
        self._refusals = tuple(t for t in self.types if issubclass(t, RejectedError))
        self.text = shown(named)

    def name(self, call: Call, error: Exception | None) -> bool:
        """Say whether that `call` ended so is among them."""
        code = call.code if error is None else code_of(error)
        if code is Code.CANCELLED:
            return False
        if self.predicate is not None:
            return self.predicate(call, error)
        if isinstance(error, RejectedError):
            if error.refuses(call):
                return isinstance(error, self._refusals)
            code = Code.UNAVAILABLE
        return code in self._codes or isinstance(error, self.types)
