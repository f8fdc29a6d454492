"""One breaker for each host, operation or tenant, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from itertools import chain
from typing import TypeVar, Unpack

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock, checked_clock
from prodkit.errors import ConfigurationError
from prodkit.options import checked_name, function, whole_number
from prodkit.pipeline import Next
from prodkit.policies.circuit_breaker.breaker import CircuitBreaker
from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.judgement import default_is_failure
from prodkit.policies.circuit_breaker.options import DEFAULTS, Choices, Options
from prodkit.traits import Trait

T = TypeVar("T")
_CLOSED, _ISOLATED = State.CLOSED, State.ISOLATED


def by_operation(call: Call) -> str:
    """Key calls by what they call: a route, a method, an event type.

    Around an ASGI app it is refused: there a call has no route before the app looks.
    """
    return call.operation


def by_host(call: Call) -> str:
    """Key HTTP calls by the host that they go to, with its port where it is not the usual one.

    For a PipelineTransport; every other door names no host and refuses it: key by operation there.
    """
    host = call.metadata.get("host")
    if not host:
        raise ConfigurationError(f"by_host: the door {call.transport} names no host")
    return host.lower()


class KeyedCircuitBreaker:
    """A CircuitBreaker for each key, so that one bad host or operation does not stop the others.

    `key` says whose a call is. Options and behavior are CircuitBreaker's; each breaker is told of
    as `name[key]`. `max_keys` bounds the memory, under a kilobyte a key: for a new key the one that
    was called least recently goes, and comes back closed. Those that are closed go first; open and
    half-open ones only if there is no other, and isolated ones last of all. 1000 is also as many
    names as telemetry takes before it calls them `_OTHER`.

    Raises ConfigurationError for options out of range.
    """

    __slots__ = (
        "_clock",
        "_is_failure",
        "_kept",
        "_key",
        "_recent",
        "max_keys",
        "name",
        "options",
        "traits",
    )

    def __init__(
        self,
        name: str,
        *,
        key: Callable[[Call], str],
        max_keys: int = 1000,
        is_failure: Callable[[Call, Exception | None], bool] = default_is_failure,
        clock: Clock = SYSTEM_CLOCK,
        options: Options = DEFAULTS,
        **choices: Unpack[Choices],
    ) -> None:
        self.name = checked_name(name)
        self.max_keys = whole_number("max_keys", max_keys)
        self.options = options.changed(choices)
        self._key = function("key", key)
        self.traits = Trait.BREAKS
        if key is by_operation:
            self.traits |= Trait.NEEDS_OPERATION
        elif key is by_host:
            self.traits |= Trait.NEEDS_HOST
        self._is_failure = function("is_failure", is_failure)
        self._clock = checked_clock(clock)
        # Last called last; `_kept` are those that were not closed when one had to go, and were not
        # called since. So no eviction looks twice at what it may not take.
        self._recent: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self._kept: dict[str, CircuitBreaker] = {}

    def __call__(self, call: Call, proceed: Next[T], /) -> Coroutine[object, object, T]:
        """Let `call` through the breaker of its key."""
        return self._breaker(self._key(call))(call, proceed)

    @property
    def slow_after(self) -> float | None:
        """The seconds after which a call is slow, None where nothing is timed."""
        return self.options.slow_call_duration

    def states(self) -> dict[str, State]:
        """Return where the circuit of each key is; a key that is not there is closed."""
        return {key: breaker.state for key, breaker in self._all()}

    def isolate(self, key: str) -> None:
        """Refuse every call of `key` until it is reset."""
        self._breaker(key).isolate()

    def reset(self, key: str) -> None:
        """Close the circuit of `key`, with every earlier result forgotten."""
        if key in self._recent or key in self._kept:
            self._breaker(key).reset()

    def reconfigure(
        self,
        *,
        max_keys: int | None = None,
        options: Options | None = None,
        **choices: Unpack[Choices],
    ) -> None:
        """Change options of all keys while calls run, as `CircuitBreaker.reconfigure` does."""
        bound = self.max_keys if max_keys is None else whole_number("max_keys", max_keys)
        self.options = self.options.reconfigured(choices, options)
        self.max_keys = bound
        for _, breaker in self._all():
            breaker.reconfigure(options=self.options)
        while self._size > bound:
            self._evict()

    @property
    def _size(self) -> int:
        return len(self._recent) + len(self._kept)

    def _all(self) -> Iterator[tuple[str, CircuitBreaker]]:
        return chain(self._kept.items(), self._recent.items())

    def _breaker(self, key: str) -> CircuitBreaker:
        breaker = self._recent.get(key)
        if breaker is not None:
            self._recent.move_to_end(key)
            return breaker
        breaker = self._kept.pop(key, None) or self._new(key)
        self._recent[key] = breaker
        return breaker

    def _new(self, key: str) -> CircuitBreaker:
        if not isinstance(key, str):
            raise ConfigurationError(
                f"circuit_breaker {self.name}: key must return a str, not {key!r}"
            )
        if self._size >= self.max_keys:
            self._evict()
        return CircuitBreaker(
            f"{self.name}[{key}]",
            is_failure=self._is_failure,
            clock=self._clock,
            options=self.options,
        )

    def _evict(self) -> None:
        """Drop the least recently called closed circuit, or the one least missed."""
        while self._recent:
            key, breaker = self._recent.popitem(last=False)
            if breaker.state is _CLOSED:
                return
            self._kept[key] = breaker
        del self._kept[self._least_missed()]

    def _least_missed(self) -> str:
        """Return whom to drop where none was closed: one that closed since, or an open one."""
        least: str | None = None
        for key, breaker in self._kept.items():
            if breaker.state is _CLOSED:
                return key
            if least is None and breaker.state is not _ISOLATED:
                least = key
        return next(iter(self._kept)) if least is None else least

    def __repr__(self) -> str:
        keys = f"{self._size} of {self.max_keys} keys"
        return f"KeyedCircuitBreaker({self.name!r}, {keys}, {self.options})"
