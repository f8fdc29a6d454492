import ssl

import pytest

from prodkit.errors import ConfigurationError
from prodkit.stores.redis import RedisConnection
from prodkit.stores.redis.address import parse


def test_a_url_says_where_and_who():
    address = parse("redis://ann:p%40ss@cache.internal:7000/3")
    assert (address.host, address.port, address.db) == ("cache.internal", 7000, 3)
    assert (address.user, address.password, address.tls) == ("ann", "p@ss", None)
    assert address.greeting() == [("AUTH", "ann", "p@ss"), ("SELECT", "3"), ("PING",)]


def test_what_is_not_said_is_as_usual():
    address = parse("redis://")
    assert (address.host, address.port, address.db, address.path) == ("localhost", 6379, 0, "")
    assert address.greeting() == [("PING",)]


def test_a_password_needs_no_name():
    assert parse("redis://:secret@h").greeting() == [("AUTH", "secret"), ("PING",)]


def test_the_database_may_stand_in_the_query():
    assert parse("redis://h/?db=4").db == 4
    address = parse("unix:///run/redis.sock?db=2")
    assert (address.path, address.db) == ("/run/redis.sock", 2)


def test_tls_checks_the_server():
    context = parse("rediss://h").tls
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://h", "begins with one of"),
        ("h:6379", "begins with one of"),
        ("redis://h:port", "the port of a Redis URL"),
        ("redis://h:99999", "the port of a Redis URL"),
        ("redis://h/first", "a number from 0 on"),
        ("redis://h/-1", "a number from 0 on"),
        ("redis://h?socket_timeout=1", "not socket_timeout"),
        ("rediss://h?ssl_ca_certs=/none.pem", "the TLS files of a Redis URL"),
        ("rediss://h?ssl_certfile=/none.pem", "the TLS files of a Redis URL"),
    ],
)
def test_what_cannot_be_is_refused(url, message):
    with pytest.raises(ConfigurationError, match=message):
        parse(url)


def test_a_password_is_never_shown():
    url = "redis://ann:hunter2@h:7000/1"
    assert "hunter2" not in repr(parse(url))
    assert repr(RedisConnection(url)) == "RedisConnection('redis', h:7000, database 1)"
    local = RedisConnection("unix:///run/redis.sock", name="cache")
    assert repr(local) == "RedisConnection('cache', /run/redis.sock, database 0)"
    with pytest.raises(ConfigurationError) as refused:
        parse("redis://ann:hunter2@h/x")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("option", ["timeout", "connect_timeout", "max_pending"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "1"])
def test_options_are_checked(option, value):
    with pytest.raises(ConfigurationError, match=option):
        RedisConnection("redis://h", **{option: value})


@pytest.mark.parametrize("url", ["redis:/me:hush@h/0", "redis://me:hush", "redis://h/hush"])
def test_a_mistyped_url_does_not_show_its_password(url):
    with pytest.raises(ConfigurationError) as caught:
        parse(url)
    assert "hush" not in str(caught.value)
