"""The mailbox: everything that the shop sent to anybody, by mail, SMS or push."""

from __future__ import annotations

import asyncio
import time
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope, Session
from prodkit.data.database import Database
from sqlalchemy import insert, select

from .tables import messages


class Mailbox:
    """Keeps messages in the order of their arrival."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, channel: str, recipient: str, subject: str, body: str, message_id: str
    ) -> None:
        """Keep one message."""
        async with self._database.transaction() as tx:
            await tx.execute(
                insert(messages).values(
                    channel=channel,
                    recipient=recipient,
                    subject=subject,
                    body=body,
                    message_id=message_id,
                    received_at=time.time(),
                )
            )

    async def newest(self, limit: int = 200) -> list[dict[str, object]]:
        """Return the newest messages, newest first."""
        async with self._database.read() as tx:
            found = await tx.execute(
                select(messages).order_by(messages.c.number.desc()).limit(limit)
            )
            return [dict(row) for row in found.mappings()]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name for the hook
        """Take a mail; the answer 250 is given once it is kept."""
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        mail = message_from_bytes(raw, policy=policy.default)
        part = mail.get_body(("plain",))
        text = part.get_content() if part is not None else ""
        for recipient in envelope.rcpt_tos:
            await self.put(
                "email", recipient, mail.get("Subject", ""), text, mail.get("Message-ID", "")
            )
        return "250 OK"


class MailServer:
    """The SMTP side of the mailbox as a component; port 0 takes a free one."""

    edge = False

    def __init__(self, mailbox: Mailbox, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = "smtp"
        self.host = host
        self.port = port
        self._mailbox = mailbox
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        controller: Any = UnthreadedController(self._mailbox, loop=asyncio.get_running_loop())
        self._server = await asyncio.get_running_loop().create_server(
            controller.factory, self.host, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self, grace: float) -> None:
        """Stop listening; a client that was not answered sends again."""
        if self._server is not None:
            self._server.close()
