import pytest

from prodkit.errors import ConfigurationError
from prodkit.transports.amqp import AmqpBroker
from prodkit.transports.amqp.address import parse


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "vhost"),
    [
        ("amqp://rabbit", "rabbit", 5672, "guest", "/"),
        ("amqps://me:hush@rabbit/", "rabbit", 5671, "me", "/"),
        ("amqp://me:hush@rabbit:1/shop%2Fa?cafile=x", "rabbit", 1, "me", "shop/a"),
    ],
)
def test_a_url_is_read(url, host, port, user, vhost):
    address = parse(url)
    assert (address.host, address.port, address.user, address.vhost) == (host, port, user, vhost)
    assert "hush" not in repr(address)
    named = address.named("shop publisher", 7)
    assert (named.query["name"], named.query["heartbeat"]) == ("shop publisher", "7")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://me:hush@rabbit", "amqp"),
        ("rabbit", "nothing"),
        ("amqp://me:hush@rabbit:70000", "port"),
        ("amqp://me:hush@[rabbit", "cannot be read"),
        ("amqp://me:hush@rabbit?heartbeat=1", "not heartbeat"),
    ],
)
def test_a_url_that_is_wrong_is_refused_without_its_password(url, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        parse(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("option", ["heartbeat", "prefetch", "partitions", "timeout", "lease"])
@pytest.mark.parametrize("value", [0, -1, True, float("nan")])
def test_options_are_checked(option, value):
    with pytest.raises(ConfigurationError, match=option):
        AmqpBroker("amqp://rabbit", **{option: value})


def test_it_shows_itself_without_its_password():
    shown = repr(AmqpBroker("amqp://me:hush@rabbit/shop", exchange="shop"))
    assert shown == "AmqpBroker('broker', rabbit:5672, exchange 'shop')"
