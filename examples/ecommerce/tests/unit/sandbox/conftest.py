"""The sandbox's parts on one database, and its app without a socket."""

from types import SimpleNamespace

import httpx2
import pytest

from ecommerce.sandbox.app import create_app
from ecommerce.sandbox.mailbox import Mailbox
from ecommerce.sandbox.provider import Provider
from ecommerce.sandbox.switches import Switches
from ecommerce.sandbox.tables import metadata


@pytest.fixture
async def sandbox(open_database):
    database, switches = await open_database(metadata), Switches()
    provider, mailbox = Provider(database, switches, transfer_seconds=0.0), Mailbox(database)
    transport = httpx2.ASGITransport(create_app(provider, mailbox, switches))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        yield SimpleNamespace(
            database=database, switches=switches, provider=provider, mailbox=mailbox, client=client
        )
