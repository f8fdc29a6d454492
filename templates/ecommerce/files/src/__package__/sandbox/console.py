"""What curious people and tests look at: the switches, the ledger, the mailbox."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from .api import invalid
from .mailbox import Mailbox
from .provider import Provider
from .switches import Switches

PAGES = Path(__file__).parent / "pages"
#: Messages that one answer may hold.
MOST_MESSAGES = 100_000


class Console:
    """Pages and their JSON; nothing here fails on purpose."""

    def __init__(self, provider: Provider, mailbox: Mailbox, switches: Switches) -> None:
        self._provider = provider
        self._mailbox = mailbox
        self._switches = switches
        self._pages = Environment(
            loader=FileSystemLoader(PAGES), autoescape=True, undefined=StrictUndefined
        )
        self._pages.filters["clock"] = _clock

    def routes(self) -> list[Route]:
        """Return the routes for a Starlette app."""
        turn = ["GET", "PUT"]
        return [
            Route("/v1/ledger", self._ledger),
            Route("/v1/switches", self._turn, methods=turn),
            Route("/health", self._health),
            Route("/sandbox", self._index),
            Route("/sandbox/switches", self._set_from_form, methods=["POST"]),
            Route("/sandbox/ledger.json", self._ledger),
            Route("/sandbox/switches.json", self._turn, methods=turn),
            Route("/sandbox/mailbox", self._mailbox_page),
            Route("/sandbox/mailbox.json", self._mailbox_json),
            Route("/sandbox/style.css", self._style),
        ]

    async def _ledger(self, request: Request) -> Response:
        return JSONResponse({"entries": await self._provider.entries()})

    async def _turn(self, request: Request) -> Response:
        if request.method == "PUT":
            try:
                self._switches.replace(Switches.model_validate_json(await request.body()))
            except ValidationError as error:
                return invalid(error)
        return JSONResponse(self._switches.model_dump())

    async def _set_from_form(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        # A checkbox that is off, and a field that was emptied, are not in the form.
        asked = {name: form.get(name) or 0 for name in Switches.model_fields}
        try:
            self._switches.replace(Switches.model_validate(asked))
        except ValidationError as error:
            return invalid(error)
        return RedirectResponse("/sandbox", status_code=303)

    async def _index(self, request: Request) -> Response:
        fields = [
            (name, field.description or "", getattr(self._switches, name))
            for name, field in Switches.model_fields.items()
        ]
        page = self._pages.get_template("index.html")
        return HTMLResponse(page.render(switches=fields, entries=await self._provider.entries()))

    async def _mailbox_page(self, request: Request) -> Response:
        page = self._pages.get_template("mailbox.html")
        return HTMLResponse(page.render(messages=await self._mailbox.newest()))

    async def _mailbox_json(self, request: Request) -> Response:
        return JSONResponse({"messages": await self._mailbox.newest(_limit(request))})

    async def _style(self, request: Request) -> Response:
        return Response((PAGES / "style.css").read_bytes(), media_type="text/css")

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "healthy"})


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _limit(request: Request) -> int:
    """Return how many messages are asked for; what is no number asks for the usual 200."""
    asked = request.query_params.get("limit", "")
    return min(int(asked), MOST_MESSAGES) if asked.isdecimal() else 200
