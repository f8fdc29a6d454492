"""Items, over HTTP."""

from __future__ import annotations

from typing import Annotated

import msgspec
from prodkit.data.database import Database
from prodkit.errors import InvalidArgumentError
from prodkit.policies.idempotency import current_claim
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import items
from .items import DEFAULT_PAGE_SIZE, LARGEST_PAGE, LONGEST_NAME, Units


class NewItem(msgspec.Struct, forbid_unknown_fields=True):
    """What an item is made from."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]


class ItemRoutes:
    """Answers for items."""

    def __init__(self, database: Database, units: Units) -> None:
        self._database = database
        self._units = units

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/items", self.create, methods=["POST"]),
            Route("/items", self.some),
            Route("/items/{id}", self.get),
        ]

    async def create(self, request: Request) -> JSONResponse:
        """Make an item; with an `Idempotency-Key`, once."""
        try:
            new = msgspec.json.decode(await request.body(), type=NewItem)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(str(error)) from None
        async with self._units() as work:
            answer = JSONResponse(dict(await items.add(work, new.name)), 201)
            if (claim := current_claim()) is not None:
                await claim.complete(work.connection, answer)
        return answer

    async def get(self, request: Request) -> JSONResponse:
        """Return one item."""
        async with self._database.read() as tx:
            return JSONResponse(dict(await items.get(tx, request.path_params["id"])))

    async def some(self, request: Request) -> JSONResponse:
        """Return a page of items, newest first."""
        cursor = request.query_params.get("page_token", "")
        async with self._database.read() as tx:
            found, following = await items.some(tx, size=_size(request), cursor=cursor)
        body = {"items": [dict(item) for item in found], "next_page_token": following}
        return JSONResponse(body)


def _size(request: Request) -> int:
    asked = request.query_params.get("page_size", str(DEFAULT_PAGE_SIZE))
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked[:9]) <= LARGEST_PAGE):
        raise InvalidArgumentError(f"page_size must be from 1 to {LARGEST_PAGE}")
    return int(asked)
