from email.message import EmailMessage
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.anyio


def mail(body="Hello Ann,\n\nthank you: 5 € off.\n", subject="Your order — confirmed"):
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "ann@example.com"
    message["Subject"], message["Message-ID"] = subject, "<e-1-email@shop.example.com>"
    message.set_content(body)
    return message


async def deliver(sandbox, content, *recipients):
    envelope = SimpleNamespace(content=content, rcpt_tos=recipients or ["ann@example.com"])
    return await sandbox.mailbox.handle_DATA(None, None, envelope)


async def test_a_mail_is_kept_as_it_reads(sandbox):
    assert (await deliver(sandbox, mail().as_bytes())).startswith("250")
    [message] = await sandbox.mailbox.newest()
    assert (message["channel"], message["recipient"]) == ("email", "ann@example.com")
    assert message["subject"] == "Your order — confirmed"
    assert message["body"] == "Hello Ann,\n\nthank you: 5 € off.\n"
    assert message["message_id"] == "<e-1-email@shop.example.com>"


async def test_each_recipient_gets_it(sandbox):
    await deliver(sandbox, mail().as_bytes(), "ann@example.com", "bob@example.com")
    recipients = [message["recipient"] for message in await sandbox.mailbox.newest()]
    assert recipients == ["bob@example.com", "ann@example.com"]


@pytest.mark.parametrize("content", [b"", None, "no headers", b"\xff\xfe\r\n\r\n\x00"])
async def test_whatever_else_arrives_is_kept_too(sandbox, content):
    assert (await deliver(sandbox, content)).startswith("250")
    assert len(await sandbox.mailbox.newest()) == 1


async def test_the_newest_come_first_and_not_all_of_them(sandbox):
    for number in range(5):
        await sandbox.mailbox.put("sms", "+49151", "", f"text {number}", f"m-{number}")
    newest = await sandbox.mailbox.newest(limit=3)
    assert [message["body"] for message in newest] == ["text 4", "text 3", "text 2"]
