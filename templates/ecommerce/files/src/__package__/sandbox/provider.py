"""The payment provider: tokens, authorizations, captures, refunds, and a ledger of its own."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import SystemRandom
from typing import TypeAlias

from prodkit.data.database import Database, Transaction
from sqlalchemy import insert, select, update

from .switches import Switches
from .tables import authorizations, ledger, replies, tokens, webhooks

Body: TypeAlias = dict[str, object]
Reply: TypeAlias = tuple[int, Body]

#: Test cards and what they do; any other number that passes the checksum is good.
BEHAVIOURS = {"4000000000000002": "declined", "4000000000009995": "insufficient_funds"}

_random = SystemRandom()


def _id(prefix: str) -> str:
    return f"{prefix}_{_random.getrandbits(80):020x}"


def _refused(status: int, error: str) -> Reply:
    return status, {"error": error}


class Provider:
    """Keeps the money. Every change is made once per idempotency key."""

    def __init__(
        self, database: Database, switches: Switches, *, transfer_seconds: float = 2.0
    ) -> None:
        self._database = database
        self._switches = switches
        self._transfer_seconds = transfer_seconds

    async def tokenize(self, method: str, number: str) -> Reply:
        """Exchange a card number, wallet or account for a token that is safe to keep."""
        token = _id("tok")
        row = {
            "token": token,
            "method": method,
            "behaviour": BEHAVIOURS.get(number, "good"),
            "last4": number[-4:],
        }
        async with self._database.transaction() as tx:
            await tx.execute(insert(tokens).values(row))
        return 201, {"token": token, "last4": row["last4"]}

    async def once(
        self, key: str, content: Body, work: Callable[[Transaction], Awaitable[Reply]]
    ) -> Reply:
        """Run `work` under an idempotency key; the answer and its effect commit together."""
        fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        async with self._database.transaction() as tx:
            found = (await tx.execute(select(replies).where(replies.c.key == key))).one_or_none()
            if found is not None:
                if found.fingerprint != fingerprint:
                    return _refused(409, "idempotency_key_reused")
                return found.status, json.loads(found.body)
            status, body = await work(tx)
            await tx.execute(
                insert(replies).values(
                    key=key, fingerprint=fingerprint, status=status, body=json.dumps(body)
                )
            )
            return status, body

    async def authorize(
        self, tx: Transaction, token: str, amount: str, currency: str, reference: str
    ) -> Reply:
        """Hold the amount; a bank transfer stays `pending` until the money arrives."""
        means = (await tx.execute(select(tokens).where(tokens.c.token == token))).one_or_none()
        if means is None:
            return _refused(422, "unknown_token")
        if self._switches.decline or means.behaviour == "declined":
            return _refused(402, "card_declined")
        transfer = means.method == "bank_transfer"
        row = {
            "id": _id("auth"),
            "reference": reference,
            "token": token,
            "amount": str(Decimal(amount)),
            "currency": currency,
            "status": "pending" if transfer else "authorized",
            "settles_at": time.time() + self._transfer_seconds if transfer else None,
        }
        await tx.execute(insert(authorizations).values(row))
        if not transfer:
            await self._report(tx, "authorized", row["id"], reference)
        return 201, {"id": row["id"], "status": row["status"], "last4": means.last4}

    async def capture(self, tx: Transaction, authorization: str) -> Reply:
        """Take the held amount."""
        row = await self._find(tx, authorization)
        if row is None:
            return _refused(404, "unknown_authorization")
        if row["behaviour"] == "insufficient_funds":
            return _refused(402, "insufficient_funds")
        if row["status"] != "authorized":
            return _refused(409, f"authorization_{row['status']}")
        await self._move(tx, row, "authorized", "captured", "capture")
        return 200, {"id": authorization, "status": "captured"}

    async def void(self, tx: Transaction, authorization: str) -> Reply:
        """Let go of a held amount, or of a transfer that has not arrived."""
        row = await self._find(tx, authorization)
        if row is None:
            return _refused(404, "unknown_authorization")
        if row["status"] not in ("authorized", "pending"):
            return _refused(409, f"authorization_{row['status']}")
        await self._move(tx, row, row["status"], "voided", None)
        return 200, {"id": authorization, "status": "voided"}

    async def refund(self, tx: Transaction, authorization: str) -> Reply:
        """Give a captured amount back."""
        row = await self._find(tx, authorization)
        if row is None:
            return _refused(404, "unknown_authorization")
        if row["status"] != "captured":
            return _refused(409, f"authorization_{row['status']}")
        await self._move(tx, row, "captured", "refunded", "refund")
        return 200, {"id": authorization, "status": "refunded"}

    async def get(self, authorization: str) -> Reply:
        """Say where an authorization stands."""
        async with self._database.read() as tx:
            row = await self._find(tx, authorization)
        if row is None:
            return _refused(404, "unknown_authorization")
        return 200, {
            name: row[name] for name in ("id", "status", "reference", "amount", "currency")
        }

    async def entries(self) -> list[Body]:
        """Return the ledger, oldest first."""
        async with self._database.read() as tx:
            found = await tx.execute(select(ledger).order_by(ledger.c.number))
            return [dict(row) for row in found.mappings()]

    async def settle_transfers(self) -> None:
        """Let the money of due transfers arrive."""
        async with self._database.transaction() as tx:
            due = await tx.execute(
                select(authorizations.c.id).where(
                    authorizations.c.status == "pending", authorizations.c.settles_at <= time.time()
                )
            )
            for (authorization,) in due.all():
                row = await self._find(tx, authorization)
                if row is not None:
                    await self._move(tx, row, "pending", "captured", "capture")

    @staticmethod
    async def _find(tx: Transaction, authorization: str) -> dict[str, str] | None:
        found = await tx.execute(
            select(authorizations, tokens.c.behaviour)
            .join(tokens, tokens.c.token == authorizations.c.token)
            .where(authorizations.c.id == authorization)
        )
        row = found.mappings().one_or_none()
        return None if row is None else dict(row)

    async def _move(
        self, tx: Transaction, row: dict[str, str], before: str, after: str, entry: str | None
    ) -> None:
        await tx.execute(
            update(authorizations)
            .where(authorizations.c.id == row["id"], authorizations.c.status == before)
            .values(status=after)
        )
        if entry is not None:
            await tx.execute(
                insert(ledger).values(
                    kind=entry,
                    authorization=row["id"],
                    reference=row["reference"],
                    amount=row["amount"],
                    currency=row["currency"],
                )
            )
        await self._report(tx, after, row["id"], row["reference"])

    @staticmethod
    async def _report(tx: Transaction, status: str, authorization: object, reference: str) -> None:
        event = _id("evt")
        body = {
            "id": event,
            "type": f"payment.{status}",
            "authorization": authorization,
            "reference": reference,
        }
        await tx.execute(
            insert(webhooks).values(
                id=event, body=json.dumps(body), attempts=0, due_at=time.time(), delivered=False
            )
        )
