"""A bounded load: so many buyers, each with one checkout at a time, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx2
from benchmarks.orders.shops import Shop, mails, settle
from harness import CARD

#: Seconds after which a buyer who was refused asks again.
AGAIN = 0.25


@dataclass(frozen=True)
class Rate:
    """Checkouts a second: as their buyers saw it, and until the last mail was there.

    `refused` is how often a buyer was told to come again (503), and did.
    """

    answered: float
    settled: float
    slowest: float
    refused: int


class Crowd:
    """Buyers who are signed in, and one product that all of them want."""

    def __init__(self, shop: Shop, buyers: int, stock: int) -> None:
        self.shop = shop
        self.product = shop.product(inventory=stock)
        self.buyers = [shop.customer() for _ in range(buyers)]
        self.body = shop.order_body(self.product) | {
            "payment_method": "credit_card",
            "payment_details": CARD,
        }
        settle(shop, buyers)  # each is welcomed

    def one(self) -> None:
        """Have the first buyer check out."""
        headers = self.buyers[0]
        answer = self.shop.api.post("/api/v1/checkout", json=self.body, headers=headers)
        if answer.status_code != 201 or answer.json()["payment_status"] != "paid":
            raise RuntimeError(f"{answer.status_code}: {answer.text}")

    async def rate(self, total: int) -> Rate:
        """Have all buyers check out, `total` times in all."""
        numbers, slowest, refused, before = iter(range(total)), 0.0, 0, mails(self.shop)

        async def buyer(client: httpx2.AsyncClient, headers: dict[str, str]) -> None:
            nonlocal slowest, refused
            for _ in numbers:
                began = time.monotonic()
                while (answer := await self._ask(client, headers)).status_code == 503:
                    refused += 1
                    if refused > total:
                        break
                    await asyncio.sleep(AGAIN)
                slowest = max(slowest, time.monotonic() - began)
                if answer.status_code != 201:
                    raise RuntimeError(f"{answer.status_code}: {answer.text}")

        async with httpx2.AsyncClient(base_url=self.shop.url, timeout=60.0) as client:
            began = time.monotonic()
            await asyncio.gather(*(buyer(client, headers) for headers in self.buyers))
            answered = time.monotonic() - began
        await asyncio.to_thread(settle, self.shop, before + total)
        return Rate(total / answered, total / (time.monotonic() - began), slowest, refused)

    async def _ask(self, client: httpx2.AsyncClient, headers: dict[str, str]) -> httpx2.Response:
        return await client.post("/api/v1/checkout", json=self.body, headers=headers)
