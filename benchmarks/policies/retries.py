"""Retries whose first attempt succeeds, hedges and fallbacks that are not needed."""

from __future__ import annotations

from benchmarks.policies import floors
from benchmarks.policies.measure import Contestant, Once, Pair, Row, around, leaf, through

from prodkit import Pipeline


def ours() -> object:
    from prodkit.policies.retry import Retry

    return Retry(on=ConnectionError)


def tenacity() -> Once:
    from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    return retry(
        retry=retry_if_exception_type(ConnectionError),
        stop=stop_after_attempt(3),
        wait=wait_random_exponential(),
        reraise=True,
    )(leaf)


def stamina() -> Once:
    from stamina import retry

    return retry(on=ConnectionError, attempts=3)(leaf)


def backoff() -> Once:
    from backoff import expo, on_exception

    return on_exception(expo, ConnectionError, max_tries=3)(leaf)


def hyx() -> Once:
    from hyx.retry import retry

    return retry(on=ConnectionError, attempts=3)(leaf)


def nopanic() -> Once:
    from nopanic import RetryBudget, retry

    return retry(attempts=3, on=ConnectionError, budget=RetryBudget())(leaf)


def hedged() -> Pair:
    from prodkit.policies.hedge import Hedge

    return through(Hedge())


def nopanic_hedge() -> Once:
    from nopanic import hedge

    return hedge(delay=0.5)(leaf)


def fallen_back() -> Pair:
    from prodkit.policies.fallback import Fallback

    return through(Fallback(lambda _call, _error: None, on=ConnectionError))


def hyx_fallback() -> Once:
    from hyx.fallback import fallback

    async def handler(*_args: object, **_kwargs: object) -> None:
        return None

    return fallback(handler, on=ConnectionError)(leaf)


def nopanic_fallback() -> Once:
    from nopanic import fallback

    return fallback(lambda _error: None, on=ConnectionError)(leaf)


ROWS = [
    Row(
        "retry, the first attempt succeeds",
        [
            Contestant("floor", lambda: around(floors.retry())),
            Contestant("prodkit", lambda: through(ours())),
            Contestant("prodkit, decorated", lambda: around(Pipeline(ours())(safe=True)(leaf))),
            Contestant("tenacity", lambda: around(tenacity())),
            Contestant("stamina", lambda: around(stamina())),
            Contestant("backoff", lambda: around(backoff())),
            Contestant("hyx", lambda: around(hyx())),
            Contestant("nopanic", lambda: around(nopanic())),
        ],
        budget=0.8,
    ),
    Row(
        "hedge, the first attempt succeeds",
        [
            Contestant("floor", lambda: around(floors.hedge())),
            Contestant("prodkit", hedged),
            Contestant("nopanic", lambda: around(nopanic_hedge())),
        ],
        loops=("uvloop", "asyncio"),
    ),
    Row(
        "fallback, not needed",
        [
            Contestant("floor", lambda: around(floors.fallback())),
            Contestant("prodkit", fallen_back),
            Contestant("hyx", lambda: around(hyx_fallback())),
            Contestant("nopanic", lambda: around(nopanic_fallback())),
        ],
    ),
]
