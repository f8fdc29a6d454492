"""What one process knows of its fleet's circuit, and when it should ask again; knows no I/O."""

from __future__ import annotations

from math import inf

from prodkit.policies.circuit_breaker.circuit import Circuit, State
from prodkit.policies.circuit_breaker.store import Standing, Terms

_CLOSED, _OPEN, _HALF_OPEN, _ISOLATED = State  # reading a member off its class is slow


class View:
    """Follows the fleet by the store's answers; the local circuit is made to look like it.

    So the local circuit is what goes on working when the store is away (`alone`): where the fleet
    was, with probes of its own. Questions are numbered as they are sent: an answer that was
    overtaken by that to a later question, or by a trip of our own, is no news.
    """

    __slots__ = (
        "_asking",
        "_fleet",
        "_heard",
        "_probes",
        "_sent",
        "alone",
        "ask_at",
        "circuit",
        "generation",
        "refresh",
        "tripped",
    )

    def __init__(self, circuit: Circuit, refresh: float) -> None:
        self.circuit = circuit
        self.refresh = refresh
        self.generation = ""
        self.alone = False
        self.tripped = False  # the local circuit opened by itself, and the store was not told
        self.ask_at = -inf  # when the view is stale: at once, for a process that just started
        self._fleet = _CLOSED
        self._probes: dict[str | int, float] = {}  # under way -> when they are given up
        self._asking = self._sent = self._heard = 0

    @property
    def state(self) -> State:
        """Where the fleet's circuit is, as far as we know; while alone, where ours is."""
        return self.circuit.state if self.alone or self.tripped else self._fleet

    @property
    def must_tell(self) -> bool:
        """Whether the next question should be a trip."""
        return self.tripped and self.circuit.state is not _CLOSED

    def should_ask(self, now: float) -> bool:
        """Say whether the call that comes now should ask the store.

        One at a time, but for permits: as many may be asked for as the fleet has, so that a herd
        that waits for the end of a break costs no more questions than that.
        """
        if now < self.ask_at:
            return False
        if self.circuit.state is _CLOSED or self.tripped:
            return not self._asking
        return self._has_room(now) and not (self.alone and self._asking)

    def terms(self) -> Terms:
        """Return what the store must know of our options."""
        options = self.circuit.options
        length = options.break_after(0.0 if self.tripped else self.circuit.last_break)
        return Terms(options.half_open_probes, options.probe_timeout, length)

    def asks(self) -> int:
        """Note that a question is sent; return its number."""
        self._asking += 1
        self._sent += 1
        return self._sent

    def asked(self) -> None:
        """Note that a question was answered, or will not be."""
        self._asking -= 1

    def trips(self, now: float) -> None:
        """Note that the local circuit opened by itself; the store is to be told, if it is there."""
        self.tripped = True
        self._heard = self._sent
        if not self.alone:
            self.ask_at = now

    def lost(self, number: int, now: float) -> None:
        """Note that there was no answer: we are alone until we ask again, unless we know better."""
        if number > self._heard:
            self.alone = True
            self.ask_at = now + self.refresh

    def hears(self, number: int, standing: Standing, now: float) -> None:
        """Take over the answer to question `number`, if it is news."""
        if number <= self._heard:
            return
        self._heard = number
        self.alone = self.tripped = False
        self._fleet = state = standing.state
        if state is _CLOSED:
            if self.circuit.state is not _CLOSED or standing.generation != self.generation:
                self.circuit.reset()
            self.generation = standing.generation
        elif state is _ISOLATED:
            self.circuit.isolate()
        else:
            self._follow(standing, now)
        wait = self.refresh if state in (_CLOSED, _ISOLATED) else standing.retry_after
        self.ask_at = now + min(wait, self.refresh)

    def _follow(self, standing: Standing, now: float) -> None:
        """Open the local circuit; it is on its own from then on only if the store goes away."""
        circuit, wait = self.circuit, standing.retry_after
        if standing.state is _HALF_OPEN:
            wait = min(wait, standing.last_break)
        circuit.open_until(now + wait)
        circuit.last_break = standing.last_break
        circuit.measured, circuit.threshold = standing.measured, standing.threshold

    def admit(self, now: float) -> int | None:
        """Return a ticket of the local circuit: to any call if it is closed, to probes if alone.

        With None a call must not run: no more probes of ours are under way, or asked for, than the
        fleet has, by whomever they were admitted.
        """
        circuit = self.circuit
        if circuit.state is _CLOSED:
            return circuit.ticket
        if not self.alone or not self._has_room(now):
            return None
        ticket = circuit.admit(now)
        if ticket is not None:
            self.begins(ticket, now)
        return ticket

    def begins(self, probe: str | int, now: float) -> None:
        """Note that a probe was admitted: by the store (its word) or the circuit (its ticket)."""
        self._probes[probe] = now + self.circuit.options.probe_timeout

    def ends(self, probe: str | int) -> None:
        """Note that a probe is over; harmless for what is none."""
        self._probes.pop(probe, None)

    def fails_alone(self, now: float, length: float) -> None:
        """Begin a break of our own: a probe failed, and the store could not be told."""
        if self.circuit.state in (_OPEN, _HALF_OPEN):
            self.circuit.open_until(now + length)

    def _has_room(self, now: float) -> bool:
        probes = self.circuit.options.half_open_probes
        if self._asking + len(self._probes) >= probes:
            self._probes = {probe: end for probe, end in self._probes.items() if end > now}
        return self._asking + len(self._probes) < probes

    def retry_after(self, now: float) -> float | None:
        """Return the seconds until a call that was just refused may be admitted, None: isolated.

        Half-open nobody knows when the probes end; a break's length is the honest guess.
        """
        state, circuit = self.state, self.circuit
        if state is _OPEN:
            return max(0.0, circuit.retry_after(now) or 0.0)
        return None if state is _ISOLATED else circuit.last_break
