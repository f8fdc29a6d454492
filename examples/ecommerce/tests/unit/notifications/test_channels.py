import json
import smtplib

import httpx2
import pytest
from prodkit.errors import UnavailableError

from ecommerce.notifications.channels import Mail, ShortMessages

pytestmark = pytest.mark.anyio


class FakeServer:
    """An SMTP connection that keeps what it is handed, or fails."""

    taken, error = [], None

    def __init__(self, host, port, timeout):
        self.where = host, port, timeout

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def send_message(self, mail):
        if self.error is not None:
            raise self.error
        self.taken.append((self.where, mail))


@pytest.fixture
def server(monkeypatch):
    server = type("Server", (FakeServer,), {"taken": []})
    monkeypatch.setattr(smtplib, "SMTP", server)
    return server


@pytest.fixture
def send():
    return Mail("mail.example.com", 25, sender="shop@example.com", timeout=3.0).send


async def test_a_mail_carries_its_id_and_reads_as_written(send, server):
    await send("e-1-email", "ann@example.com", "Your order — confirmed", "Hello Änn,\n\n5 €\n")
    [(where, mail)] = server.taken
    assert where == ("mail.example.com", 25, 3.0)
    assert (mail["From"], mail["To"]) == ("shop@example.com", "ann@example.com")
    assert (mail["Subject"], mail["Message-ID"]) == (
        "Your order — confirmed",
        "<e-1-email@shop.example.com>",
    )
    assert mail.get_content().replace("\r\n", "\n") == "Hello Änn,\n\n5 €\n"


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), smtplib.SMTPDataError(451, b"later")]
)
async def test_a_mail_that_was_not_taken_is_unavailable(send, server, error):
    server.error = error
    with pytest.raises(UnavailableError):
        await send("e-1-email", "ann@example.com", "Hello", "Hello")


@pytest.mark.parametrize("place", ["recipient", "subject"])
async def test_nobody_writes_headers_of_his_own(send, server, place):
    fields = {"recipient": "ann@example.com", "subject": "Hello"}
    fields[place] += "\r\nBcc: eve@example.com"
    with pytest.raises(ValueError, match="linefeed"):
        await send("e-1-email", fields["recipient"], fields["subject"], "Hello")
    assert server.taken == []


async def test_nobody_is_written_to_in_place_of_the_recipient(send, server):
    disguised = "=?utf-8?q?eve=40example.com=2C?=@example.com"
    with pytest.raises(ValueError, match="somebody else"):
        await send("e-1-email", disguised, "Hello", "Hello")
    assert server.taken == []


async def posted(status):
    requests = []

    def answer(request):
        requests.append(request)
        return httpx2.Response(status)

    transport = httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        await ShortMessages(client, "/v1/sms").send("e-1-sms", "+49151", "On its way", "Hello")
    return requests


async def test_a_short_message_is_its_subject_under_its_id():
    [request] = await posted(202)
    assert request.url.path == "/v1/sms"
    assert request.headers["idempotency-key"] == "e-1-sms"
    assert json.loads(request.content) == {
        "to": "+49151",
        "body": "On its way",
        "message_id": "e-1-sms",
    }


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_a_short_message_that_was_not_taken_is_unavailable(status):
    with pytest.raises(UnavailableError):
        await posted(status)
