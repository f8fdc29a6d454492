"""The sandbox's HTTP face: the provider's API, SMS and push, the switches and the pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from prodkit.data.database import Transaction
from pydantic import BaseModel, Field, ValidationError, field_validator
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ecommerce.sandbox.mailbox import Mailbox
from ecommerce.sandbox.provider import Provider, Reply
from ecommerce.sandbox.switches import Switches

PAGES = Path(__file__).parent / "pages"
#: Messages that one answer may hold.
MOST_MESSAGES = 100_000


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


Handler = Callable[[Request], Awaitable[Response]]


def create_app(provider: Provider, mailbox: Mailbox, switches: Switches) -> Starlette:
    """Build the app; its parts are given, so that tests can hold them too."""
    pages = Environment(loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined)
    pages.filters["clock"] = lambda at: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    failing = partial(_failing, switches)

    async def tokenize(request: Request) -> Response:
        asked = TokenRequest.model_validate_json(await request.body())
        return _json(await provider.tokenize(asked.method, asked.number))

    async def authorize(request: Request) -> Response:
        asked = AuthorizationRequest.model_validate_json(await request.body())

        async def work(tx: Transaction) -> Reply:
            return await provider.authorize(
                tx, asked.token, asked.amount, asked.currency, asked.reference
            )

        return await _keyed(request, asked.model_dump(), work)

    def acting(act: Callable[[Transaction, str], Awaitable[Reply]]) -> Handler:
        async def endpoint(request: Request) -> Response:
            authorization = request.path_params["id"]
            content: dict[str, object] = {"path": request.url.path}
            return await _keyed(request, content, lambda tx: act(tx, authorization))

        return failing(endpoint)

    async def _keyed(
        request: Request,
        content: dict[str, object],
        work: Callable[[Transaction], Awaitable[Reply]],
    ) -> Response:
        key = request.headers.get("idempotency-key", "")
        if not key:
            return JSONResponse({"error": "idempotency_key_required"}, status_code=400)
        return _json(await provider.once(key, content, work))

    async def authorization(request: Request) -> Response:
        return _json(await provider.get(request.path_params["id"]))

    async def ledger(request: Request) -> Response:
        return JSONResponse({"entries": await provider.entries()})

    async def turn(request: Request) -> Response:
        if request.method == "PUT":
            try:
                switches.replace(Switches.model_validate_json(await request.body()))
            except ValidationError as error:
                return _invalid(error)
        return JSONResponse(switches.model_dump())

    async def set_from_form(request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        # A checkbox that is off, and a field that was emptied, are not in the form.
        asked = {name: form.get(name) or 0 for name in Switches.model_fields}
        try:
            switches.replace(Switches.model_validate(asked))
        except ValidationError as error:
            return _invalid(error)
        return RedirectResponse("/sandbox", status_code=303)

    def short(channel: str) -> Handler:
        async def endpoint(request: Request) -> Response:
            sent = ShortMessage.model_validate_json(await request.body())
            await mailbox.put(channel, sent.to, "", sent.body, sent.message_id)
            return JSONResponse({"status": "accepted"}, status_code=202)

        return failing(endpoint)

    async def index(request: Request) -> Response:
        page = pages.get_template("index.html")
        fields = [
            (name, field.description or "", getattr(switches, name))
            for name, field in Switches.model_fields.items()
        ]
        return HTMLResponse(page.render(switches=fields, entries=await provider.entries()))

    async def mailbox_page(request: Request) -> Response:
        page = pages.get_template("mailbox.html")
        return HTMLResponse(page.render(messages=await mailbox.newest()))

    async def mailbox_json(request: Request) -> Response:
        return JSONResponse({"messages": await mailbox.newest(_limit(request))})

    async def style(request: Request) -> Response:
        return Response((PAGES / "style.css").read_bytes(), media_type="text/css")

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "healthy"})

    return Starlette(
        routes=[
            Route("/v1/tokens", failing(tokenize), methods=["POST"]),
            Route("/v1/authorizations", failing(authorize), methods=["POST"]),
            Route("/v1/authorizations/{id}", failing(authorization)),
            Route("/v1/authorizations/{id}/capture", acting(provider.capture), methods=["POST"]),
            Route("/v1/authorizations/{id}/void", acting(provider.void), methods=["POST"]),
            Route("/v1/authorizations/{id}/refund", acting(provider.refund), methods=["POST"]),
            Route("/v1/sms", short("sms"), methods=["POST"]),
            Route("/v1/push", short("push"), methods=["POST"]),
            Route("/v1/ledger", ledger),
            Route("/v1/switches", turn, methods=["GET", "PUT"]),
            Route("/health", health),
            Route("/sandbox", index),
            Route("/sandbox/switches", set_from_form, methods=["POST"]),
            Route("/sandbox/ledger.json", ledger),
            Route("/sandbox/switches.json", turn, methods=["GET", "PUT"]),
            Route("/sandbox/mailbox", mailbox_page),
            Route("/sandbox/mailbox.json", mailbox_json),
            Route("/sandbox/style.css", style),
        ]
    )


def _failing(switches: Switches, handler: Handler) -> Handler:
    """Put the switches around what the provider does."""

    async def endpoint(request: Request) -> Response:
        refused = await switches.before(request)
        if refused is not None:
            return refused
        try:
            response = await handler(request)
        except ValidationError as error:
            response = _invalid(error)
        except ClientDisconnect:
            response = Response(status_code=400)  # nobody is there to read it
        return await switches.after(request, response)

    return endpoint


def _limit(request: Request) -> int:
    """Return how many messages are asked for; what is no number asks for the usual 200."""
    asked = request.query_params.get("limit", "")
    return min(int(asked), MOST_MESSAGES) if asked.isdecimal() else 200


def _invalid(error: ValidationError) -> Response:
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return JSONResponse({"error": "invalid", "details": details}, status_code=422)


def _json(reply: Reply) -> Response:
    status, body = reply
    return JSONResponse(body, status_code=status)
