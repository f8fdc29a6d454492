import pytest
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from prodkit.errors import InvalidArgumentError
from prodkit.transports.amqp import headers
from prodkit.transports.amqp.headers import Letter
from prodkit.transports.broker import DeadLetter, Message


def delivered(properties, body=b"", routing_key="q"):
    deliver = Basic.Deliver("c", 1, False, "x", routing_key)
    return DeliveredMessage(deliver, ContentHeader(0, len(body), properties), body, None)


MESSAGE = Message("1", "order.created", b"{}", "k", {"traceparent": "t", "x-request-id": "r"})


@pytest.mark.parametrize("message_id", ["1", "2/1"])
def test_a_message_arrives_as_it_was_sent(message_id):
    letter = Letter(MESSAGE, "x", "order.created", attempts=2, deliveries=3)
    properties = letter.properties(message_id)
    properties.headers["x-delivery-count"] = 4
    properties.headers["x-first-death-reason"] = "expired"
    got = delivered(properties, b"{}")
    assert headers.message_of(got) == MESSAGE
    assert (headers.attempts_of(got), headers.deliveries_of(got)) == (2, 7)
    assert properties.delivery_mode == 2
    assert properties.message_id == message_id


def test_a_message_without_a_key_is_spread_by_its_id():
    properties = Letter(Message("1", "t", b""), "x", "t").properties("1")
    assert properties.headers == {"x-prodkit-hash": "1"}


def test_a_dead_letter_says_why_and_when():
    letter = DeadLetter(7, "mail", MESSAGE, 3, "KeyError", 12.5)
    properties = Letter(MESSAGE, "", "q", 3, dead=letter).properties("1")
    assert headers.dead_letter_of(delivered(properties, b"{}"), "mail") == letter


def test_what_others_sent_can_be_read_too():
    headers_ = {"x-first-death-reason": "delivery_limit", "n": 1, "x-prodkit-attempts": "many"}
    letter = headers.dead_letter_of(
        delivered(Basic.Properties(message_id="id", headers=headers_), b"x"), "mail"
    )
    assert letter.message == Message("id", "q", b"x")
    assert (letter.reason, letter.attempts, letter.at) == ("delivery_limit", 0, 0.0)
    assert letter.tag > 0
    nothing = headers.message_of(delivered(Basic.Properties(), routing_key="t"))
    assert nothing == Message("", "t", b"")


@pytest.mark.parametrize("bad", [Message("", "t", b""), Message("1", "ü" * 121, b"")])
def test_what_amqp_cannot_carry_is_refused(bad):
    with pytest.raises(InvalidArgumentError, match="240 bytes"):
        headers.check(bad)
