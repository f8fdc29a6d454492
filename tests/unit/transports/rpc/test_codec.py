"""What a method's messages amount to, without their secrets; and what methods declare."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.wrappers_pb2 import StringValue

from prodkit.call import CURRENT, Call
from prodkit.transports.rpc.method import (
    MessageCodec,
    MethodInfo,
    forward_caller,
    idempotency_key,
    method_info,
    outbound_key,
)

_FIELD = descriptor_pb2.FieldDescriptorProto


def _declare():
    """Card{number, secret cvv}; Pay{secret pin, Card card, repeated Card spare, map named}."""
    file = descriptor_pb2.FileDescriptorProto(
        name="prodkit/test/codec.proto", package="prodkit.test.codec", syntax="proto3"
    )
    card = file.message_type.add(name="Card")
    card.field.add(name="number", number=1, type=_FIELD.TYPE_STRING, label=1)
    cvv = card.field.add(name="cvv", number=2, type=_FIELD.TYPE_STRING, label=1)
    cvv.options.debug_redact = True
    pay = file.message_type.add(name="Pay")
    pin = pay.field.add(name="pin", number=1, type=_FIELD.TYPE_STRING, label=1)
    pin.options.debug_redact = True
    kind = {"type": _FIELD.TYPE_MESSAGE, "type_name": ".prodkit.test.codec.Card"}
    pay.field.add(name="card", number=2, label=1, **kind)
    pay.field.add(name="spare", number=3, label=3, **kind)
    entry = pay.nested_type.add(name="NamedEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, label=1, **kind)
    pay.field.add(
        name="named",
        number=4,
        label=3,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".prodkit.test.codec.Pay.NamedEntry",
    )
    service = file.service.add(name="Payments")
    for level in ("IDEMPOTENCY_UNKNOWN", "NO_SIDE_EFFECTS", "IDEMPOTENT"):
        method = service.method.add(
            name=level.title().replace("_", ""),
            input_type=".prodkit.test.codec.Pay",
            output_type=".prodkit.test.codec.Card",
        )
        method.options.idempotency_level = descriptor_pb2.MethodOptions.IdempotencyLevel.Value(
            level
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    named = pool.FindMessageTypeByName("prodkit.test.codec.Pay")
    return message_factory.GetMessageClass(named)


Pay = _declare()


def pay(secret: str, number: str = "4242"):
    message = Pay(pin=secret)
    message.card.number, message.card.cvv = number, secret
    message.spare.add(number=number, cvv=secret)
    message.named["home"].number = number
    message.named["home"].cvv = secret
    return message


@pytest.mark.anyio
async def test_content_leaves_secrets_out_wherever_they_are():
    message = pay("s3cret")
    content = await MessageCodec(Call("x", payload=message), StringValue).content()
    assert b"s3cret" not in content
    assert content.count(b"4242") == 3
    assert message == pay("s3cret")


@pytest.mark.anyio
async def test_content_differs_where_the_request_differs_in_what_is_not_secret():
    contents = [
        await MessageCodec(Call("x", payload=message), StringValue).content()
        for message in (pay("a"), pay("b"), pay("a", "4111"))
    ]
    assert contents[0] == contents[1] != contents[2]


def test_what_was_frozen_thaws():
    codec = MessageCodec(Call("x"), StringValue)
    assert codec.thaw(codec.freeze(StringValue(value="v"))) == StringValue(value="v")


@pytest.mark.parametrize(
    ("method", "safe"),
    [("IdempotencyUnknown", None), ("NoSideEffects", True), ("Idempotent", True)],
)
def test_the_contract_declares_what_may_be_repeated(method, safe):
    info = method_info(
        f"/prodkit.test.codec.Payments/{method}", client_streaming=False, server_streaming=False
    )
    assert (info.safe, info.request_type, info.service) == (
        safe,
        Pay,
        "prodkit.test.codec.Payments",
    )


def test_a_method_without_contract_has_no_types():
    info = method_info("/no.Such/Method", client_streaming=True, server_streaming=False)
    assert info == MethodInfo("/no.Such/Method", client_streaming=True)


def test_the_key_holds_for_its_block():
    with idempotency_key("outer"):
        with idempotency_key("inner"):
            assert outbound_key() == "inner"
        assert outbound_key() == "outer"
    assert outbound_key() is None


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer abc", "abc"), ("Basic abc", ""), (None, "")],
)
def test_only_a_bearer_token_is_forwarded(header, token):
    call = Call("x", metadata={} if header is None else {"authorization": header})
    reset = CURRENT.set(call)
    try:
        assert forward_caller()() == token
    finally:
        CURRENT.reset(reset)


def test_outside_of_a_call_nothing_is_forwarded():
    assert forward_caller()() == ""
