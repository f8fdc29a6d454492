"""Options that are functions are refused where they are given, not when the first call comes."""

import pytest

from prodkit.errors import ConfigurationError
from prodkit.policies.adaptive_throttle import AdaptiveThrottle
from prodkit.policies.bulkhead import Bulkhead
from prodkit.policies.circuit_breaker import (
    CircuitBreaker,
    KeyedCircuitBreaker,
    SharedCircuitBreaker,
)
from prodkit.policies.hedge import Hedge
from prodkit.policies.load_shedder import LoadShedder
from prodkit.policies.retry import KeyedRetryBudget
from prodkit.stores.memory import MemoryBreakerStore


async def asynchronous(*_):
    return True


MAKERS = {
    "is_accepted": lambda **options: AdaptiveThrottle("a", **options),
    "is_failure of one": lambda **options: CircuitBreaker("c", **options),
    "is_failure of many": lambda **options: KeyedCircuitBreaker("c", key=str, **options),
    "is_failure of a fleet": lambda **options: SharedCircuitBreaker(
        "c", MemoryBreakerStore(), **options
    ),
    "is_failure of a hedge": Hedge,
    "key": lambda **options: KeyedCircuitBreaker("c", **options),
    "key of places": lambda **options: Bulkhead("b", limit=1, **options),
    "key of budgets": KeyedRetryBudget,
    "priority": LoadShedder,
}


@pytest.mark.parametrize("which", MAKERS)
@pytest.mark.parametrize("wrong", [7, "tenant", asynchronous])
def test_what_is_no_plain_function_is_refused_by_name(which, wrong):
    option = which.split()[0]
    with pytest.raises(ConfigurationError, match=f"{option} must be a plain function, not "):
        MAKERS[which](**{option: wrong})
