"""The circuits that the breakers of a fleet share."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias, cast

from prodkit.clock import seconds
from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.store import Outcome, Standing, Terms
from prodkit.stores.redis.command import Word, milliseconds, name
from prodkit.stores.redis.connection import RedisConnection
from prodkit.stores.redis.script import Script

_Told: TypeAlias = tuple[bytes, bytes, int, int, bytes, bytes, bytes]
_STATES = {state.value.encode(): state for state in State}
_MICROSECOND = 1e-6
#: For steps that nobody's terms matter to.
_NO_TERMS = Terms(probes=1, lease=0.0, break_duration=0.0)


class RedisBreakerStore:
    """A BreakerStore in Redis: each question is one script, timed by Redis's own clock.

    A circuit that nothing happened to for `memory` seconds beyond its break (a day) is forgotten,
    which closes it; an isolated one never is. A Redis that forgets (FLUSHALL, a restart without
    persistence) closes all circuits, isolated ones too, and each process opens its own again by
    what it measures.
    """

    __slots__ = ("_memory", "_prefix", "_step")

    def __init__(
        self,
        redis: RedisConnection,
        *,
        memory: float | timedelta = 86_400.0,
        prefix: str = "prodkit:breaker",
    ) -> None:
        self._prefix = f"{prefix}:"
        self._memory = milliseconds(seconds("memory", memory))
        self._step = Script(redis, "breaker")

    async def admit(self, name: str, ticket: str, *, now: float, terms: Terms) -> Standing:
        """Give a permit if there is one; see BreakerStore."""
        return await self._take(name, "admit", terms, ticket)

    async def trip(
        self,
        name: str,
        generation: str,
        *,
        now: float,
        terms: Terms,
        measured: float,
        threshold: float,
    ) -> Standing:
        """Open a closed circuit of this generation; see BreakerStore."""
        return await self._take(name, "trip", terms, generation, measured, threshold)

    async def settle(
        self, name: str, ticket: str, outcome: Outcome, *, now: float, terms: Terms
    ) -> Standing:
        """Take a permit back with what was learned; see BreakerStore."""
        return await self._take(name, "settle", terms, ticket, outcome.value)

    async def isolate(self, name: str, *, now: float) -> Standing:
        """Admit nothing until `reset`; see BreakerStore."""
        return await self._take(name, "isolate", _NO_TERMS)

    async def reset(self, name: str, generation: str, *, now: float) -> Standing:
        """Close; see BreakerStore."""
        return await self._take(name, "reset", _NO_TERMS, generation)

    async def _take(self, circuit: str, step: str, terms: Terms, *words: Word) -> Standing:
        lease, pause = (round(s / _MICROSECOND) for s in (terms.lease, terms.break_duration))
        asked = (step, terms.probes, lease, pause, repr(terms.break_duration), self._memory)
        reply = await self._step(1, name(self._prefix + circuit), *asked, *words)
        state, generation, permit, wait, *figures = cast("_Told", reply)
        return Standing(
            _STATES[state],
            generation.decode(),
            permit == 1,
            wait * _MICROSECOND,
            *map(float, figures),
        )

    def __repr__(self) -> str:
        return f"RedisBreakerStore({self._prefix[:-1]!r})"
