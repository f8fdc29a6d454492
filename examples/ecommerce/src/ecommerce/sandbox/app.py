"""The sandbox's HTTP face: the API that the shop calls, and the pages that people look at."""

from __future__ import annotations

from starlette.applications import Starlette

from ecommerce.sandbox.api import Api
from ecommerce.sandbox.console import Console
from ecommerce.sandbox.mailbox import Mailbox
from ecommerce.sandbox.provider import Provider
from ecommerce.sandbox.switches import Switches


def create_app(provider: Provider, mailbox: Mailbox, switches: Switches) -> Starlette:
    """Build the app; its parts are given, so that tests can hold them too."""
    parts = provider, mailbox, switches
    return Starlette(routes=[*Api(*parts).routes(), *Console(*parts).routes()])
