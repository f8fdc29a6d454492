"""The ways to reach people: SMTP for mail, the gateways' HTTP for SMS and push."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import TypeAlias

import httpx2
from prodkit.errors import UnavailableError

#: Sends (id, recipient, subject, body); the id is stable, so that a repetition can be told.
Send: TypeAlias = Callable[[str, str, str, str], Awaitable[None]]


class Mail:
    """Hands mail to an SMTP server; `timeout` is in seconds for each of its answers."""

    def __init__(self, host: str, port: int, *, sender: str, timeout: float = 5.0) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._timeout = timeout

    async def send(self, message_id: str, recipient: str, subject: str, body: str) -> None:
        """Return once the server has taken the mail; UnavailableError otherwise.

        ValueError: the recipient is no address that a mail's header can hold.
        """
        mail = EmailMessage(policy=SMTP)
        mail["From"] = self._sender
        mail["To"] = recipient
        if [to.addr_spec for to in mail["To"].addresses] != [recipient]:
            raise ValueError("the header would name somebody else than the recipient")
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{message_id}@shop.example.com>"
        mail.set_content(body)
        try:
            await asyncio.to_thread(self._hand_over, mail)
        except (OSError, smtplib.SMTPException) as error:
            raise UnavailableError("the mail server did not take the mail") from error

    def _hand_over(self, mail: EmailMessage) -> None:
        with smtplib.SMTP(self._host, self._port, timeout=self._timeout) as server:
            server.send_message(mail)


class ShortMessages:
    """Hands SMS or push messages to a gateway."""

    def __init__(self, client: httpx2.AsyncClient, path: str) -> None:
        self._client = client
        self._path = path

    async def send(self, message_id: str, recipient: str, subject: str, body: str) -> None:
        """Return once the gateway has taken the message; UnavailableError otherwise."""
        response = await self._client.post(
            self._path,
            json={"to": recipient, "body": subject, "message_id": message_id},
            headers={"idempotency-key": message_id},
        )
        if not response.is_success:
            raise UnavailableError(f"the gateway answered {response.status_code}")
