"""The sandbox as a process of its own, on one page."""

from __future__ import annotations

import httpx2
from prodkit.data.database import Database
from prodkit.service.component import Component
from prodkit.service.health import Check
from prodkit.service.service import Service
from prodkit.service.workers import Worker
from prodkit.transports.http_server import HttpServer

from ..kit import Client
from ..schema import Schema
from ..settings import Settings
from .app import create_app
from .mailbox import Mailbox, MailServer
from .provider import Provider
from .switches import Switches
from .tables import metadata
from .webhooks import WebhookSender


def build(settings: Settings, *workers: Component) -> Service:
    """Put the outside world together; it reports to the shop that the settings tell of."""
    folder = settings.make_data_dir()
    database = Database(folder / "sandbox.db", name="sandbox database")
    switches = Switches.model_validate({})
    provider, mailbox = Provider(database, switches), Mailbox(database)
    client = httpx2.AsyncClient(timeout=5.0)
    host = settings.sandbox_host
    secret = settings.webhook_secret.get_secret_value().encode()
    sender = WebhookSender(database, client, url=settings.webhook_url, secret=secret)
    return Service(
        "sandbox",
        # Nobody routes to it, so nobody needs time to take notice of its end.
        settings=settings.model_copy(update={"drain_delay": 0.0}),
        resources=[database, Schema(database, metadata), Client("webhook client", client)],
        servers=[
            HttpServer(
                create_app(provider, mailbox, switches), host=host, port=settings.sandbox_port
            ),
            MailServer(mailbox, host=host, port=settings.smtp_port),
        ],
        workers=[
            Worker("webhooks", sender.deliver_due, interval=0.25),
            Worker("transfers", provider.settle_transfers, interval=0.5),
            *workers,
        ],
        checks=[Check("database", database.ping)],
    )
