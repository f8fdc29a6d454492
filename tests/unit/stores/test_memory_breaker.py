import asyncio

import pytest

from prodkit.policies.circuit_breaker.circuit import State
from prodkit.policies.circuit_breaker.store import Outcome, Terms
from prodkit.stores.memory import MemoryBreakerStore
from prodkit.testing import ManualClock, check_breaker_store

pytestmark = pytest.mark.anyio


async def check(store):
    clock = ManualClock()
    await check_breaker_store(store, now=clock.monotonic, advance=clock.advance)


async def test_it_conforms():
    await check(MemoryBreakerStore())


class Racing(MemoryBreakerStore):
    """Looks, thinks, and only then decides."""

    async def admit(self, name, ticket, *, now, terms):
        circuit = self._circuit(name)
        room = circuit.state is State.HALF_OPEN and circuit.has_room(now, terms.probes)
        await asyncio.sleep(0)
        if room:
            circuit.leases[ticket] = now + terms.lease
            return circuit.standing(now, terms.probes, permit=True)
        return await super().admit(name, ticket, now=now, terms=terms)


class Unleased(MemoryBreakerStore):
    """Waits for ever for probes of processes that died."""

    async def admit(self, name, ticket, *, now, terms):
        forever = Terms(terms.probes, float("inf"), terms.break_duration)
        return await super().admit(name, ticket, now=now, terms=forever)


class Keeping(MemoryBreakerStore):
    """Does not give back what a cancelled probe held."""

    async def settle(self, name, ticket, outcome, *, now, terms):
        if outcome is Outcome.WITHDRAWN:
            return self._circuit(name).standing(now, terms.probes)
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Unfenced(MemoryBreakerStore):
    """Counts whatever comes in."""

    async def settle(self, name, ticket, outcome, *, now, terms):
        self._circuit(name).leases.setdefault(ticket, now + 1)
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Lenient(MemoryBreakerStore):
    """Counts the results of leases that ended, while nobody looks."""

    async def settle(self, name, ticket, outcome, *, now, terms):
        leases = self._circuit(name).leases
        if ticket in leases:
            leases[ticket] = now + 1
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Forgiving(MemoryBreakerStore):
    """Opens on the evidence of another time."""

    async def trip(self, name, generation, **options):
        return await super().trip(name, self._circuit(name).generation, **options)


class Deaf(MemoryBreakerStore):
    """Is not impressed by a probe that failed."""

    async def settle(self, name, ticket, outcome, *, now, terms):
        if outcome is Outcome.FAILED:
            outcome = Outcome.WITHDRAWN
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Hasty(MemoryBreakerStore):
    """Closes on the first success."""

    async def settle(self, name, ticket, outcome, *, now, terms):
        if outcome is Outcome.PASSED:
            terms = Terms(1, terms.lease, terms.break_duration)
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Accumulating(MemoryBreakerStore):
    """Remembers what passed before a break."""

    def __init__(self):
        super().__init__()
        self.passed = {}

    async def admit(self, name, ticket, *, now, terms):
        standing = await super().admit(name, ticket, now=now, terms=terms)
        if standing.state is State.HALF_OPEN:
            self._circuit(name).passed += self.passed.pop(name, 0)
        return standing

    async def settle(self, name, ticket, outcome, *, now, terms):
        if outcome is Outcome.FAILED:
            self.passed[name] = self._circuit(name).passed
        return await super().settle(name, ticket, outcome, now=now, terms=terms)


class Confused(MemoryBreakerStore):
    """Has one circuit for all names."""

    def _circuit(self, name):
        return super()._circuit("all")


class Private(MemoryBreakerStore):
    """Lets time end an isolation."""

    async def isolate(self, name, *, now):
        circuit = self._circuit(name)
        circuit.open(now, 0.5)
        standing = circuit.standing(now, 1)
        object.__setattr__(standing, "state", State.ISOLATED)
        return standing


class Prolonging(MemoryBreakerStore):
    """Begins the break anew with every process that trips."""

    async def trip(self, name, generation, *, now, terms, **figures):
        circuit = self._circuit(name)
        standing = await super().trip(name, generation, now=now, terms=terms, **figures)
        if circuit.state is State.OPEN:
            circuit.retry_at = now + terms.break_duration
            standing = circuit.standing(now, terms.probes)
        return standing


class Stuck(MemoryBreakerStore):
    """Waits for a probe that nobody may send."""

    async def admit(self, name, ticket, *, now, terms):
        circuit = self._circuit(name)
        if circuit.passed >= terms.probes:
            return circuit.standing(now, terms.probes)
        return await super().admit(name, ticket, now=now, terms=terms)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Racing, "a withdrawn probe gives back one permit, not 100"),
        (Unleased, "says when the first lease ends"),
        (Keeping, "that there is a permit to have is told"),
        (Unfenced, "successes past their lease do not count"),
        (Lenient, "not even when nobody else was given the permit"),
        (Forgiving, "a trip of another generation is ignored"),
        (Deaf, "one probe that failed opens for all"),
        (Hasty, "two of three that passed"),
        (Accumulating, "counts no more after it"),
        (Confused, "circuits do not know of each other"),
        (Private, "no result changes that"),
        (Prolonging, "prolongs nothing"),
        (Stuck, "that is all that this asker wants"),
    ],
)
async def test_the_conformance_suite_finds_a_broken_store(broken, promise):
    with pytest.raises(AssertionError, match=f"breaks a promise: .*{promise}"):
        await check(broken())
