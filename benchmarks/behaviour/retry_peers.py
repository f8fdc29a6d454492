"""Retries, each as its own documentation uses it: three attempts, its own waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.behaviour.scenario import Subject
from benchmarks.behaviour.world import World

ATTEMPTS = 3

Work = Callable[[], Awaitable[Any]]
#: Puts the retry around some work; with a `deadline` in seconds and one wait between attempts.
Retrying = Callable[[Work], Work]


def prodkit(world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from prodkit import Pipeline
    from prodkit.policies.deadline import Deadline
    from prodkit.policies.retry import Retry

    retry = Retry(
        on=Exception, attempts=ATTEMPTS, backoff="constant", wait_initial=wait, clock=world
    )
    outer = [] if deadline is None else [Deadline(deadline, clock=world)]
    return Pipeline(*outer, retry)(safe=True)


def tenacity(_world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from tenacity import retry, stop_after_attempt, stop_before_delay, wait_fixed

    stop: Any = stop_after_attempt(ATTEMPTS)
    if deadline is not None:
        stop |= stop_before_delay(deadline)
    return retry(stop=stop, wait=wait_fixed(wait), reraise=True)


def stamina(_world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from stamina import instrumentation, retry

    instrumentation.set_on_retry_hooks([])  # it would log each of thousands
    return retry(
        on=Exception,
        attempts=ATTEMPTS,
        timeout=deadline,
        wait_initial=wait,
        wait_jitter=0.0,
        wait_exp_base=1,
    )


def backoff(_world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from backoff import constant, on_exception

    return on_exception(
        constant,
        Exception,
        max_tries=ATTEMPTS,
        max_time=deadline,
        interval=wait,
        jitter=None,
        logger=None,
    )


def hyx(_world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from hyx.retry import retry
    from hyx.timeout import timeout

    retrying = retry(on=Exception, attempts=ATTEMPTS - 1, backoff=wait)  # it counts repeats
    return retrying if deadline is None else lambda work: timeout(deadline)(retrying(work))


def nopanic(world: World, deadline: float | None = None, wait: float = 0.1) -> Retrying:
    from nopanic import RetryBudget, backoff, compose, retry
    from nopanic import deadline as within

    retrying = retry(
        attempts=ATTEMPTS,
        backoff=backoff.fixed(wait),
        budget=RetryBudget(clock=world.monotonic),
        clock=world.monotonic,
    )
    return retrying if deadline is None else compose(within(deadline), retrying)


SUBJECTS: list[Subject[Retrying]] = [
    Subject("prodkit", prodkit),
    Subject("tenacity", tenacity),
    Subject("stamina", stamina),
    Subject("backoff", backoff),
    Subject("hyx", hyx),
    Subject("nopanic", nopanic),
]
