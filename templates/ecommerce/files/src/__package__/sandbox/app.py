"""The sandbox's HTTP face: the API that the shop calls, and the pages that people look at."""

from __future__ import annotations

from starlette.applications import Starlette

from .api import Api
from .console import Console
from .mailbox import Mailbox
from .provider import Provider
from .switches import Switches


def create_app(provider: Provider, mailbox: Mailbox, switches: Switches) -> Starlette:
    """Build the app; its parts are given, so that tests can hold them too."""
    parts = provider, mailbox, switches
    return Starlette(routes=[*Api(*parts).routes(), *Console(*parts).routes()])
