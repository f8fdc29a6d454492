"""Who is served when not all can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prodkit.call import Call, Kind
from prodkit.errors import OverloadedError
from prodkit.pipeline import Pipeline
from prodkit.policies.load_shedder import LoadShedder, Priority

from ecommerce.gateway.priority import among_others, among_sales

EXEMPT = Priority.EXEMPT


@pytest.mark.parametrize(
    ("operation", "sales", "others"),
    [
        ("POST /api/v1/checkout", Priority.CRITICAL, EXEMPT),
        ("POST /api/v1/orders", Priority.CRITICAL, EXEMPT),
        ("POST /api/v1/payments", Priority.CRITICAL, EXEMPT),
        ("POST /api/v1/webhooks/payments", EXEMPT, EXEMPT),
        ("GET /api/v1/orders", EXEMPT, Priority.DEFAULT),
        ("POST /api/v1/users", EXEMPT, Priority.DEFAULT),
        ("GET /api/v1/products", EXEMPT, Priority.DEFAULT),
        ("GET /health/ready", EXEMPT, EXEMPT),
    ],
)
def test_one_limit_counts_a_request_or_none(
    operation: str, sales: Priority, others: Priority
) -> None:
    call = Call(operation, kind=Kind.SERVER)
    assert (among_sales(call), among_others(call)) == (sales, others)


def shedder(priority: Callable[[Call], Priority]) -> LoadShedder:
    return LoadShedder(floor=2, initial=2, ceiling=2, priority=priority)


async def _crowds() -> None:
    release = asyncio.Event()
    sales, others = shedder(among_sales), shedder(among_others)

    async def answer(call: Call) -> str:
        if call.operation == "POST /api/v1/checkout":
            await release.wait()
        return "done"

    answered = Pipeline(sales, others).bind(answer)

    def ask(operation: str) -> Awaitable[str]:
        return answered(Call(operation, kind=Kind.SERVER))

    waiting = [asyncio.ensure_future(ask("POST /api/v1/checkout")) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError) as refused:
        await ask("POST /api/v1/checkout")
    assert refused.value.retry_after
    assert await ask("GET /api/v1/products") == "done"
    assert await ask("POST /api/v1/webhooks/payments") == "done"
    release.set()
    assert await asyncio.gather(*waiting) == ["done", "done"]


def test_checkouts_that_wait_keep_nobody_from_looking_around() -> None:
    asyncio.run(_crowds())
