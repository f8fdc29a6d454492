"""Webhooks: what the provider reports, signed, at least once, until the shop takes it."""

from __future__ import annotations

import hashlib
import hmac
import time

import httpx2
from prodkit.data.database import Database
from sqlalchemy import select, update

from .tables import webhooks

#: After so many refusals the provider gives up; about a day with the waits below.
MAX_ATTEMPTS = 20


def signature(secret: bytes, body: bytes, at: float) -> str:
    """Return `x-provider-signature`: a time, and an HMAC-SHA256 over it and the body."""
    stamp = str(int(at))
    mac = hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mac}"


class WebhookSender:
    """Delivers due webhooks, oldest first; a refusal is tried again later."""

    def __init__(
        self, database: Database, client: httpx2.AsyncClient, *, url: str, secret: bytes
    ) -> None:
        self._database = database
        self._client = client
        self._url = url
        self._secret = secret

    async def deliver_due(self) -> None:
        """Try each due webhook once."""
        async with self._database.read() as tx:
            found = await tx.execute(
                select(webhooks.c.id, webhooks.c.body, webhooks.c.attempts)
                .where(
                    webhooks.c.delivered.is_(False),
                    webhooks.c.due_at <= time.time(),
                    webhooks.c.attempts < MAX_ATTEMPTS,
                )
                .order_by(webhooks.c.due_at)
                .limit(50)
            )
            due = found.all()
        for row in due:
            taken = await self._post(row.body.encode())
            async with self._database.transaction() as tx:
                await tx.execute(
                    update(webhooks)
                    .where(webhooks.c.id == row.id)
                    .values(
                        delivered=taken,
                        attempts=row.attempts + 1,
                        due_at=time.time() + min(0.5 * 2**row.attempts, 3600.0),
                    )
                )

    async def _post(self, body: bytes) -> bool:
        headers = {
            "content-type": "application/json",
            "x-provider-signature": signature(self._secret, body, time.time()),
        }
        try:
            response = await self._client.post(self._url, content=body, headers=headers)
        except httpx2.HTTPError:
            return False
        return response.is_success
