"""The shop over its two meshes, side by side: checkouts a second, and reads through the gateway.

Each round runs the same bounded load against both; figures are medians of rounds, and the ratio is
taken round by round. Run it by `python -m benchmarks.mesh`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

import httpx2

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "ecommerce" / "tests"))
from harness import CARD, Shop

ROUNDS = 5
CHECKOUTS, BUYERS = 40, 8
READS, READERS = 400, 16


async def main() -> None:
    """Run the rounds and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        shops = {mesh: started(Path(folder) / mesh, mesh) for mesh in ("local", "grpc")}
        try:
            await compare(shops)
        finally:
            for shop in shops.values():
                shop.close()


def started(folder: Path, mesh: str) -> Shop:
    """Start a shop that calls itself over `mesh`, and logs no calls."""
    folder.mkdir()
    return Shop(folder, mesh=mesh, log_level="warning").start()


async def compare(shops: dict[str, Shop]) -> None:
    """Alternate between the shops, round by round."""
    rates: dict[tuple[str, str], list[float]] = {}
    loads = {"checkouts/s": checkouts, "product reads/s": reads}
    for number in range(ROUNDS + 1):
        for mesh, shop in shops.items():
            for name, load in loads.items():
                rate = await load(shop)
                if number:  # the first round warms up
                    rates.setdefault((name, mesh), []).append(rate)
    print("| what | grpc | local | local / grpc |\n|---|---|---|---|")
    for name in loads:
        grpc, local = rates[name, "grpc"], rates[name, "local"]
        ratio = median(b / a for a, b in zip(grpc, local, strict=True))
        print(f"| {name} | {median(grpc):.0f} | {median(local):.0f} | {ratio:.2f} |")


async def checkouts(shop: Shop) -> float:
    """Return completed checkouts a second, by several buyers at once."""
    product, buyers = shop.product(inventory=CHECKOUTS), [shop.customer() for _ in range(BUYERS)]
    body = shop.order_body(product) | {"payment_method": "credit_card", "payment_details": CARD}

    async def buy(client: httpx2.AsyncClient, number: int) -> None:
        buyer = buyers[number % BUYERS]
        answer = await client.post("/api/v1/checkout", json=body, headers=buyer)
        assert answer.status_code == 201, answer.text

    return await rate(shop, buy, CHECKOUTS, BUYERS)


async def reads(shop: Shop) -> float:
    """Return reads of one product a second."""
    path = f"/api/v1/products/{shop.product()}"

    async def read(client: httpx2.AsyncClient, number: int) -> None:
        assert (await client.get(path)).status_code == 200

    return await rate(shop, read, READS, READERS)


async def rate(
    shop: Shop, act: Callable[[httpx2.AsyncClient, int], Awaitable[None]], total: int, callers: int
) -> float:
    """Do `total` acts by `callers` at once; return how many a second were done."""
    numbers = iter(range(total))

    async def caller(client: httpx2.AsyncClient) -> None:
        for number in numbers:
            await act(client, number)

    async with httpx2.AsyncClient(base_url=shop.url, timeout=30.0) as client:
        began = time.monotonic()
        await asyncio.gather(*(caller(client) for _ in range(callers)))
        return total / (time.monotonic() - began)


if __name__ == "__main__":
    asyncio.run(main())
