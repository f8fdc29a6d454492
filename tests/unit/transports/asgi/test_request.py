"""What the ASGI door reads of a request: metadata, client address, idempotency key."""

import pytest

from prodkit.errors import InvalidArgumentError
from prodkit.transports.asgi.request import Metadata, idempotency_key_of


@pytest.fixture
def view(scope_of):
    def build(*headers, edge=True, trusted_proxies=0, **extra):
        scope = scope_of(headers=headers, **extra)
        return Metadata(scope, dict(scope["headers"]), edge, trusted_proxies)

    return build


def test_headers_are_read_as_latin_1_and_joined(view):
    metadata = view((b"x-name", b"caf\xe9"), (b"accept", b"a"), (b"accept", b"b"))
    assert metadata["x-name"] == "café"
    assert metadata["accept"] == "a, b"
    assert metadata.get("missing") is None
    assert metadata.get("missing", "x") == "x"
    with pytest.raises(KeyError):
        metadata["missing"]
    assert "accept" in metadata


def test_an_edge_hides_what_strangers_may_not_say(view):
    headers = [
        (b"baggage", b"a=b"),
        (b"tracestate", b"a=b"),
        (b"x-prodkit-retry", b"1"),
        (b"x-client-address", b"1.1.1.1"),
        (b"client-address", b"2.2.2.2"),
    ]
    edge, inner = view(*headers), view(*headers, edge=False)
    assert set(edge) == {"host", "client-address"}
    assert len(edge) == 2
    assert edge["client-address"] == "192.0.2.7"
    assert inner["client-address"] == "1.1.1.1"
    assert inner["x-prodkit-retry"] == "1"
    assert inner["baggage"] == "a=b"


def test_an_inner_door_knows_its_peer_when_nobody_says(view):
    assert view(edge=False)["client-address"] == "192.0.2.7"


def test_a_server_without_addresses_gives_none(view):
    assert "client-address" not in view(client=None)


@pytest.mark.parametrize(
    ("forwarded", "hops", "expected"),
    [
        ([b"203.0.113.5"], 0, "192.0.2.7"),
        ([b"203.0.113.5"], 1, "203.0.113.5"),
        ([b"6.6.6.6, 203.0.113.5"], 1, "203.0.113.5"),
        ([b"6.6.6.6, 203.0.113.5, 10.0.0.1"], 2, "203.0.113.5"),
        ([b"6.6.6.6", b"203.0.113.5"], 1, "203.0.113.5"),
        ([b"203.0.113.5"], 2, "192.0.2.7"),
        ([b"unknown"], 1, "192.0.2.7"),
        ([b"[2001:db8::1]:443"], 1, "2001:db8::1"),
        ([b"2001:db8::1"], 1, "2001:db8::1"),
        ([b"203.0.113.5:9999"], 1, "203.0.113.5"),
        ([], 1, "192.0.2.7"),
    ],
)
def test_the_client_behind_proxies(view, forwarded, hops, expected):
    metadata = view(*((b"x-forwarded-for", value) for value in forwarded), trusted_proxies=hops)
    assert metadata["client-address"] == expected


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        (b'"8e03978e-40d5"', "8e03978e-40d5"),
        (b"8e03978e-40d5", "8e03978e-40d5"),
        (rb'"a\"b\\c"', 'a"b\\c'),
        (b' "k" ', "k"),
        (b'"a, b"', "a, b"),
        (b"a~b+c-d e", "a~b+c-d e"),
        (b'""', ""),
        (b"", ""),
    ],
)
def test_keys_come_quoted_or_not(sent, key):
    assert idempotency_key_of(sent) == key


@pytest.mark.parametrize(
    "sent", [(b"a", b"b"), (b"a", b"a"), (b"a, b",), (b'"a", "b"',), (b'"a"', b"")]
)
def test_several_keys_are_refused_joined_or_not(sent):
    with pytest.raises(InvalidArgumentError, match="must be one quoted string"):
        idempotency_key_of(*sent)


@pytest.mark.parametrize("sent", [b'"a', b'"a"b', b'"a";x=1', rb'"a\b"', b"a\x00b", b"\xe9"])
def test_keys_that_are_neither_are_refused(sent):
    with pytest.raises(InvalidArgumentError):
        idempotency_key_of(sent)
