"""The provider's API, and the SMS and push gateways', with the switches in front of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TypeAlias

from prodkit.data.database import Transaction
from pydantic import BaseModel, Field, ValidationError, field_validator
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .mailbox import Mailbox
from .provider import Provider, Reply
from .switches import Switches

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Act: TypeAlias = Callable[[Transaction, str], Awaitable[Reply]]


class TokenRequest(BaseModel):
    """A means of payment; `number` is the card's, the wallet's or the account's."""

    method: str = Field(pattern="^(credit_card|wallet|bank_transfer)$")
    number: str = Field(min_length=1, max_length=100)
    expiry_month: str = ""
    expiry_year: str = ""
    cvv: str = ""


class AuthorizationRequest(BaseModel):
    """An amount to be held."""

    token: str
    amount: str
    currency: str = Field(pattern="^[A-Z]{3}$")
    reference: str = Field(min_length=1, max_length=100)

    @field_validator("amount")
    @classmethod
    def _decimal(cls, value: str) -> str:
        try:
            positive = 0 < Decimal(value) < 10**9
        except InvalidOperation:
            positive = False
        if not positive:
            raise ValueError("must be a positive decimal amount")
        return value


class ShortMessage(BaseModel):
    """An SMS or a push message."""

    to: str = Field(min_length=1, max_length=200)
    body: str = Field(max_length=2000)
    message_id: str = Field(min_length=1, max_length=200)


class Api:
    """What the shop calls."""

    def __init__(self, provider: Provider, mailbox: Mailbox, switches: Switches) -> None:
        self._provider = provider
        self._mailbox = mailbox
        self._switches = switches

    def routes(self) -> list[Route]:
        """Return the routes for a Starlette app."""
        one = "/v1/authorizations/{id}"
        provider = self._provider
        return [
            self._route("/v1/tokens", self._tokenize),
            self._route("/v1/authorizations", self._authorize),
            self._route(one, self._authorization, method="GET"),
            self._route(f"{one}/capture", partial(self._act, provider.capture)),
            self._route(f"{one}/void", partial(self._act, provider.void)),
            self._route(f"{one}/refund", partial(self._act, provider.refund)),
            self._route("/v1/sms", partial(self._short, "sms")),
            self._route("/v1/push", partial(self._short, "push")),
        ]

    def _route(self, path: str, handler: Handler, *, method: str = "POST") -> Route:
        """Put the switches around what the provider does."""

        async def endpoint(request: Request) -> Response:
            refused = await self._switches.before(request)
            if refused is not None:
                return refused
            try:
                response = await handler(request)
            except ValidationError as error:
                response = invalid(error)
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody is there to read it
            return await self._switches.after(request, response)

        return Route(path, endpoint, methods=[method])

    async def _tokenize(self, request: Request) -> Response:
        asked = TokenRequest.model_validate_json(await request.body())
        return _json(await self._provider.tokenize(asked.method, asked.number))

    async def _authorize(self, request: Request) -> Response:
        asked = AuthorizationRequest.model_validate_json(await request.body())

        async def work(tx: Transaction) -> Reply:
            return await self._provider.authorize(
                tx, asked.token, asked.amount, asked.currency, asked.reference
            )

        return await self._keyed(request, asked.model_dump(), work)

    async def _act(self, act: Act, request: Request) -> Response:
        authorization = request.path_params["id"]
        content: dict[str, object] = {"path": request.url.path}
        return await self._keyed(request, content, lambda tx: act(tx, authorization))

    async def _keyed(
        self,
        request: Request,
        content: dict[str, object],
        work: Callable[[Transaction], Awaitable[Reply]],
    ) -> Response:
        key = request.headers.get("idempotency-key", "")
        if not key:
            return JSONResponse({"error": "idempotency_key_required"}, status_code=400)
        return _json(await self._provider.once(key, content, work))

    async def _authorization(self, request: Request) -> Response:
        return _json(await self._provider.get(request.path_params["id"]))

    async def _short(self, channel: str, request: Request) -> Response:
        sent = ShortMessage.model_validate_json(await request.body())
        await self._mailbox.put(channel, sent.to, "", sent.body, sent.message_id)
        return JSONResponse({"status": "accepted"}, status_code=202)


def invalid(error: ValidationError) -> Response:
    """Say what is wrong with a request, without repeating what it held."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return JSONResponse({"error": "invalid", "details": details}, status_code=422)


def _json(reply: Reply) -> Response:
    status, body = reply
    return JSONResponse(body, status_code=status)
