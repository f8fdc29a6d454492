"""What breakers go through: recovery under a crowd, answers out of time, callers that leave."""

from __future__ import annotations

from benchmarks.behaviour.breaker_peers import SUBJECTS, Breaker
from benchmarks.behaviour.breaker_plays import (
    callers_leave,
    cancelled_probe,
    clock_set_back,
    clock_set_forward,
    five_probes,
    late_failures,
    late_success,
    late_success_at_half_open,
    leaving_hides_failure,
    one_probe,
)
from benchmarks.behaviour.scenario import Scenario

SCENARIOS: list[Scenario[Breaker]] = [
    Scenario(
        "A crowd at half-open",
        "of 1,000 callers at once 1 reaches the dependency",
        "The database comes back after a failover. Its caches are cold; it can take a few queries. "
        "In the very instant in which the break ends a thousand requests are waiting, and a "
        "breaker that merely changes its state to half-open lets all of them through. The "
        "database goes down again, the break begins again, and so on until somebody turns the "
        "traffic off by hand. One probe means one.",
        SUBJECTS,
        one_probe,
    ),
    Scenario(
        "A crowd at half-open, five probes",
        "of 1,000 callers at once 5 reach the dependency",
        "One lucky probe proves little, so five are asked for. It must be five, not the whole "
        "crowd until the fifth has answered. (Libraries in which the number of probes cannot be "
        "set, or is only a number of successes to wait for, are left out.)",
        SUBJECTS,
        five_probes,
    ),
    Scenario(
        "A late success",
        "of 10 calls during the break 0 reach the dependency",
        "A call begun before the outage hangs for three seconds, and then, of all things, "
        "succeeds: its connection was the last good one. A breaker that books results by its "
        "present state and not by the state in which the call was let in takes that for news, "
        "closes, and sends the full load to a dependency that is still down.",
        SUBJECTS,
        late_success,
    ),
    Scenario(
        "A late success while the probe is out",
        "of 10 calls after it at most 1 reaches the dependency",
        "The same call, slower still: it succeeds when the break is over and the probe is on its "
        "way, to a dependency that is still down. The probe will say so in a moment, but the "
        "old answer came first and closes the circuit.",
        SUBJECTS,
        late_success_at_half_open,
    ),
    Scenario(
        "Late failures",
        "of 10 calls after the recovery 0 are refused",
        "The mirror image. Ten calls of the time before the outage run into their time-outs when "
        "everything has long been well again. If they count, the circuit opens on a healthy "
        "dependency, and the incident that was over is not.",
        SUBJECTS,
        late_failures,
    ),
    Scenario(
        "A cancelled probe",
        "of the next 10 calls 1 is the new probe (it fails, the rest is refused)",
        "The one probe is some user's request, and the user closes the tab. Nothing was learned, "
        "so the permit has to come back and the next caller has to be the probe. If the permit is "
        "lost, the circuit stays open until the process is restarted, which is what the person on "
        "call does at 3 a.m. without ever learning why. If the cancelled call counts as a success, "
        "the circuit closes on a dead dependency; as a failure, another break is lost.",
        SUBJECTS,
        cancelled_probe,
    ),
    Scenario(
        "Callers that leave",
        "after 100 cancelled calls to a healthy dependency 0 of 10 are refused",
        "A mobile network hiccups and a hundred clients hang up. The servers cancel their "
        "handlers. The dependency did nothing wrong, but a breaker that counts CancelledError "
        "among the failures opens, and an outage begins that has no cause.",
        SUBJECTS,
        callers_leave,
    ),
    Scenario(
        "Callers that leave hide an outage",
        "at most 10 of 100 failing calls reach the dependency while every fifth caller leaves",
        "The dependency is down, users get impatient, every fifth one hangs up. A breaker for "
        "which a cancelled call is a success (or merely resets the count of failures in a row) "
        "is reassured every few calls and never opens. The worse the outage, the more people "
        "leave.",
        SUBJECTS,
        leaving_hides_failure,
    ),
    Scenario(
        "A breaker when the clock is set back an hour",
        "the first probe goes out after 10 s",
        "A virtual machine is resumed, or NTP corrects a clock that was wrong. A breaker that "
        "measures its break on the wall clock now waits an hour and ten seconds. Everything is "
        "green, except that one instance of twelve answers 503.",
        SUBJECTS,
        clock_set_back,
    ),
    Scenario(
        "A breaker when the clock is set forward an hour",
        "of 10 calls right after the trip 0 reach the dependency",
        "The same, the other way: the break ends at once, on every machine that the correction "
        "reaches, that is to say on all of them together.",
        SUBJECTS,
        clock_set_forward,
    ),
]
