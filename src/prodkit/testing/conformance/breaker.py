"""What a BreakerStore must do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.store import BreakerStore, Outcome, Standing, Terms
from prodkit.testing.conformance._expect import Advance, Now, expect, fresh
from prodkit.testing.conformance._steps import Step, run

_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED = State


async def check_breaker_store(
    store: BreakerStore, *, now: Now, advance: Advance, concurrently: bool = False
) -> None:
    """Check `store` against BreakerStore: permits, leases, fences, and who closes and opens.

    It takes eight seconds of the store's time; three, `concurrently`.
    """

    def step(check: _Check) -> Step:
        return lambda advance: check(_Fleet(store, now), advance)

    checks: Sequence[_Check] = (
        _check_trips,
        _check_permits,
        _check_leases,
        _check_closing,
        _check_reopening,
        _check_by_hand,
        _check_other_terms,
    )
    await run([step(check) for check in checks], advance, concurrently=concurrently)


class _Fleet:
    """A circuit of its own in the store, with the terms and the clock filled in."""

    def __init__(self, store: BreakerStore, now: Now) -> None:
        self.store = store
        self.now = now
        self.name = fresh()
        self.terms = Terms(probes=3, lease=1.0, break_duration=0.5)

    async def admit(self, ticket: str | None = None, terms: Terms | None = None) -> Standing:
        return await self.store.admit(
            self.name, ticket or fresh(), now=self.now(), terms=terms or self.terms
        )

    async def trip(self, generation: str = "") -> Standing:
        return await self.store.trip(
            self.name, generation, now=self.now(), terms=self.terms, measured=0.75, threshold=0.5
        )

    async def settle(self, ticket: str, outcome: Outcome, break_duration: float = 0.5) -> Standing:
        terms = Terms(self.terms.probes, self.terms.lease, break_duration)
        return await self.store.settle(self.name, ticket, outcome, now=self.now(), terms=terms)

    async def permits(self, asked: int) -> list[str]:
        """Ask so many times at once; return the tickets that were given a permit."""
        tickets = [fresh() for _ in range(asked)]
        answers = await asyncio.gather(*map(self.admit, tickets))
        return [t for t, standing in zip(tickets, answers, strict=True) if standing.permit]

    async def half_open(self, advance: Advance) -> list[str]:
        """Trip, wait for the end of the break and take all the permits."""
        await self.trip((await self.admit()).generation)
        await advance(0.55)
        return await self.permits(3)


_Check: TypeAlias = Callable[[_Fleet, Advance], Awaitable[None]]


async def _check_trips(fleet: _Fleet, advance: Advance) -> None:
    standing = await fleet.admit()
    expect(standing == Standing(_CLOSED), f"an unknown circuit is closed, not {standing}")
    standing = await fleet.trip("some generation")
    expect(standing.state is _CLOSED, "a trip of another generation is ignored")
    answers = await asyncio.gather(*(fleet.trip() for _ in range(20)))
    expect(all(a.state is _OPEN for a in answers), "a trip opens, and so everybody is told")
    standing = await fleet.admit()
    expect(standing.state is _OPEN, "what is open stays open")
    expect(not standing.permit, "no permit is given during the break")
    expect(0 < standing.retry_after <= 0.5, f"the rest of 0.5 s, not {standing.retry_after} s")
    told = (standing.last_break, standing.measured, standing.threshold)
    expect(told == (0.5, 0.75, 0.5), f"the break and the trip's figures are kept, not {told}")
    await advance(0.3)
    expect((await fleet.trip()).retry_after <= 0.25, "a trip of what is open prolongs nothing")
    other = _Fleet(fleet.store, fleet.now)
    expect((await other.admit()).state is _CLOSED, "circuits do not know of each other")


async def _check_permits(fleet: _Fleet, advance: Advance) -> None:
    await fleet.trip()
    await advance(0.55)
    given = await fleet.permits(100)
    expect(len(given) == 3, f"of 100 that ask at once 3 may probe, not {len(given)}")
    standing = await fleet.admit()
    expect(standing.state is _HALF_OPEN, "then it is half-open")
    expect(0 < standing.retry_after <= 1.0, "and says when the first lease ends")
    standing = await fleet.settle(given[0], Outcome.WITHDRAWN)
    expect(standing.state is _HALF_OPEN, "a withdrawn probe changes no state")
    expect(standing.retry_after == 0, "and that there is a permit to have is told")
    given = await fleet.permits(100)
    expect(len(given) == 1, f"a withdrawn probe gives back one permit, not {len(given)}")
    await fleet.settle(given[0], Outcome.WITHDRAWN)
    await fleet.settle(given[0], Outcome.WITHDRAWN)
    await fleet.settle(fresh(), Outcome.WITHDRAWN)
    given = await fleet.permits(100)
    expect(len(given) == 1, "only a ticket that is out gives back, and once")
    expect(not (await fleet.trip()).permit, "a late trip gives no permit")
    await fleet.settle(given[0], Outcome.PASSED)
    expect(not await fleet.permits(10), "a probe that passed gives back no permit")


async def _check_leases(fleet: _Fleet, advance: Advance) -> None:
    given = await fleet.half_open(advance)
    await advance(0.6)
    expect(not await fleet.permits(10), "a lease of 1 s lasts that long")
    await advance(0.5)
    again = await fleet.permits(100)
    expect(len(again) == 3, f"leases that ended free their 3 permits, not {len(again)}")
    for ticket in given:
        await fleet.settle(ticket, Outcome.PASSED)
    expect((await fleet.admit()).state is _HALF_OPEN, "successes past their lease do not count")
    standing = await fleet.settle(given[0], Outcome.FAILED)
    expect(standing.state is _HALF_OPEN, "nor do failures past their lease")
    await advance(1.1)
    standing = await fleet.settle(again[0], Outcome.FAILED)
    expect(standing.state is _HALF_OPEN, "not even when nobody else was given the permit")


async def _check_closing(fleet: _Fleet, advance: Advance) -> None:
    given = await fleet.half_open(advance)
    await fleet.settle(given[0], Outcome.PASSED)
    await fleet.settle(given[0], Outcome.PASSED)
    standing = await fleet.settle(given[1], Outcome.PASSED)
    expect(standing.state is _HALF_OPEN, "two of three that passed, one of them told twice, wait")
    standing = await fleet.settle(given[2], Outcome.PASSED)
    expect(standing == Standing(_CLOSED, given[2]), "the last to pass closes, as new generation")
    expect(await fleet.admit() == Standing(_CLOSED, given[2]), "for everybody")
    expect((await fleet.trip()).state is _CLOSED, "a trip of the generation before is ignored")
    expect((await fleet.trip(given[2])).state is _OPEN, "a trip of this one opens")
    await advance(0.55)
    await fleet.permits(1)
    for ticket in given:
        await fleet.settle(ticket, Outcome.FAILED)
    expect((await fleet.admit()).state is _HALF_OPEN, "results of older probes never count")


async def _check_reopening(fleet: _Fleet, advance: Advance) -> None:
    given = await fleet.half_open(advance)
    await fleet.settle(given[0], Outcome.PASSED)
    answers = await asyncio.gather(
        fleet.settle(given[1], Outcome.FAILED, 0.8), fleet.settle(given[2], Outcome.PASSED, 0.8)
    )
    standing = await fleet.admit()
    expect(standing.state is _OPEN, "one probe that failed opens for all")
    states = Counter(answer.state for answer in answers)
    expect(states[_CLOSED] == 0, "one that passes at the same time does not close it")
    expect(standing.last_break == 0.8, "for as long as its asker says")
    expect((standing.measured, standing.threshold) == (0.75, 0.5), "the trip's figures stay")
    await advance(0.55)
    expect(not await fleet.permits(10), "that long, and not shorter")
    await advance(0.3)
    given = await fleet.permits(10)
    expect(len(given) == 3, "what passed before the break counts no more after it")


async def _check_by_hand(fleet: _Fleet, advance: Advance) -> None:
    given = await fleet.half_open(advance)
    standing = await fleet.store.isolate(fleet.name, now=fleet.now())
    expect(standing.state is _ISOLATED, "isolate isolates")
    await advance(0.6)
    standing = await fleet.settle(given[0], Outcome.FAILED)
    expect(standing.state is _ISOLATED, "no result changes that")
    expect((await fleet.trip()).state is _ISOLATED, "no trip")
    standing = await fleet.admit()
    expect((standing.state, standing.permit) == (_ISOLATED, False), "no time; others see it")
    standing = await fleet.store.reset(fleet.name, "by hand", now=fleet.now())
    expect(standing == Standing(_CLOSED, "by hand"), "reset closes, with nothing remembered")
    expect(await fleet.admit() == Standing(_CLOSED, "by hand"), "and others see it")
    await fleet.store.reset(fleet.name, "again", now=fleet.now())
    expect((await fleet.trip("by hand")).state is _CLOSED, "what is closed is reset as well")
    expect((await fleet.trip("again")).state is _OPEN, "and trips in its new generation")


async def _check_other_terms(fleet: _Fleet, advance: Advance) -> None:
    given = await fleet.half_open(advance)
    await fleet.settle(given[0], Outcome.PASSED)
    await fleet.settle(given[1], Outcome.WITHDRAWN)
    standing = await fleet.admit("ticket", Terms(probes=1, lease=1.0, break_duration=0.5))
    expect(standing.state is _CLOSED, "one passed, and that is all that this asker wants")
    expect((standing.generation, standing.permit) == ("ticket", False), "so its ticket closed it")
