"""How the outside world fails today: switches that tests and curious people turn."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Switches(BaseModel):
    """What is wrong with the provider; the default is nothing."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    down: bool = Field(False, description="Answer 503 to everything.")
    hang: bool = Field(False, description="Accept and never answer.")
    decline: bool = Field(False, description="Decline every authorization.")
    slow_seconds: float = Field(0.0, ge=0, le=60, description="Think this long before answering.")
    lose_replies: int = Field(
        0, ge=0, le=1000, description="Do the work, then drop so many answers."
    )

    def replace(self, changes: Switches) -> None:
        """Take over what `changes` sets, leave the rest as it is."""
        for name in changes.model_fields_set:
            setattr(self, name, getattr(changes, name))

    async def before(self, request: Request) -> Response | None:
        """Fail ahead of the work, as set; None lets the work go on."""
        if self.hang:
            return await _silence(request)
        if self.down:
            return JSONResponse({"error": "provider_down"}, status_code=503)
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        return None

    async def after(self, request: Request, response: Response) -> Response:
        """Lose the reply to work that is done, as set."""
        if self.lose_replies:
            self.lose_replies -= 1
            return await _silence(request)
        return response


async def _silence(request: Request) -> Response:
    """Say nothing until the caller has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=503)
