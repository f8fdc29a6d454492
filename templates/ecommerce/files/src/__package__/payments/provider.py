"""The payment provider, as the payments service sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx2
from prodkit.errors import FailedPreconditionError, UnavailableError

from .means import Means


class DeclinedError(FailedPreconditionError):
    """The provider says no, and will not say otherwise when asked again."""

    reason = "PAYMENT_DECLINED"


@dataclass(frozen=True, slots=True)
class Token:
    """What may be kept of a means of payment."""

    token: str
    last4: str


class ProviderClient:
    """The provider's API over HTTP. Each change carries the key under which it is made once.

    The client's transport brings time limits, retries and the breaker: callers see their errors
    (CircuitOpenError, DeadlineExceededError, UnavailableError) besides DeclinedError.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def tokenize(self, means: Means, key: str) -> Token:
        """Exchange a means of payment for a token."""
        body = {
            "method": means.method,
            "number": means.number,
            "expiry_month": means.expiry_month,
            "expiry_year": means.expiry_year,
            "cvv": means.cvv,
        }
        answer = await self._post("/v1/tokens", key, body)
        return Token(answer["token"], answer["last4"])

    async def authorize(
        self, token: str, amount: str, currency: str, reference: str, key: str
    ) -> tuple[str, str]:
        """Hold the amount; return the authorization's id and status (`authorized`, `pending`)."""
        body = {"token": token, "amount": amount, "currency": currency, "reference": reference}
        answer = await self._post("/v1/authorizations", key, body)
        return answer["id"], answer["status"]

    async def capture(self, authorization: str, key: str) -> None:
        """Take what is held."""
        await self._post(f"/v1/authorizations/{authorization}/capture", key, {})

    async def void(self, authorization: str, key: str) -> None:
        """Let go of what is held."""
        await self._post(f"/v1/authorizations/{authorization}/void", key, {})

    async def refund(self, authorization: str, key: str) -> None:
        """Give back what was taken."""
        await self._post(f"/v1/authorizations/{authorization}/refund", key, {})

    async def status(self, authorization: str) -> str:
        """Say where an authorization stands at the provider."""
        response = await self._client.get(
            f"/v1/authorizations/{authorization}",
            extensions={"operation": "GET /v1/authorizations/{id}"},
        )
        status: str = _answer(response)["status"]
        return status

    async def _post(self, path: str, key: str, body: dict[str, str]) -> dict[str, Any]:
        parts = path.split("/")
        template = "/".join("{id}" if part.startswith("auth_") else part for part in parts)
        response = await self._client.post(
            path,
            json=body,
            headers={"idempotency-key": key},
            extensions={"operation": f"POST {template}"},
        )
        return _answer(response)


def _answer(response: httpx2.Response) -> dict[str, Any]:
    if response.status_code >= 500 or response.status_code == 429:
        raise UnavailableError("the payment provider is away", reason="PROVIDER_UNAVAILABLE")
    answer: dict[str, Any] = response.json()
    if response.status_code >= 400:
        error = str(answer.get("error", "refused"))
        raise DeclinedError(f"the provider refused: {error}", metadata={"provider_error": error})
    return answer
