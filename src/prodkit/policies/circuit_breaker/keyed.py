"""One breaker for each host, operation or tenant, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TypeVar, Unpack

from prodkit.call import Call
from prodkit.clock import SYSTEM_CLOCK, Clock
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
        "_breakers",
        "_clock",
        "_is_failure",
        "_key",
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
        self._clock = clock
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()  # last called last

    def __call__(self, call: Call, proceed: Next[T], /) -> Coroutine[object, object, T]:
        """Let `call` through the breaker of its key."""
        return self._breaker(self._key(call))(call, proceed)

    def states(self) -> dict[str, State]:
        """Return where the circuit of each key is; a key that is not there is closed."""
        return {key: breaker.state for key, breaker in self._breakers.items()}

    def isolate(self, key: str) -> None:
        """Refuse every call of `key` until it is reset."""
        self._breaker(key).isolate()

    def reset(self, key: str) -> None:
        """Close the circuit of `key`, with every earlier result forgotten."""
        if key in self._breakers:
            self._breakers[key].reset()

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
        for breaker in self._breakers.values():
            breaker.reconfigure(options=self.options)
        while len(self._breakers) > bound:
            self._evict()

    def _breaker(self, key: str) -> CircuitBreaker:
        breaker = self._breakers.get(key)
        if breaker is None:
            return self._begin(key)
        self._breakers.move_to_end(key)
        return breaker

    def _begin(self, key: str) -> CircuitBreaker:
        if not isinstance(key, str):
            raise ConfigurationError(
                f"circuit_breaker {self.name}: key must return a str, not {key!r}"
            )
        if len(self._breakers) >= self.max_keys:
            self._evict()
        breaker = self._breakers[key] = CircuitBreaker(
            f"{self.name}[{key}]",
            is_failure=self._is_failure,
            clock=self._clock,
            options=self.options,
        )
        return breaker

    def _evict(self) -> None:
        """Drop the least recently called closed circuit, or the one least missed."""
        least: str | None = None
        for key, breaker in self._breakers.items():
            if breaker.state is _CLOSED:
                least = key
                break
            if least is None and breaker.state is not _ISOLATED:
                least = key
        del self._breakers[next(iter(self._breakers)) if least is None else least]

    def __repr__(self) -> str:
        keys = f"{len(self._breakers)} of {self.max_keys} keys"
        return f"KeyedCircuitBreaker({self.name!r}, {keys}, {self.options})"
