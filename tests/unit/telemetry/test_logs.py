"""One line of JSON each, whatever is logged, with service, request and trace on it."""

import io
import json
import logging

import pytest
import structlog
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from prodkit import Call
from prodkit.call import CURRENT
from prodkit.telemetry.logs import SERVICE, configure_logging, encode_line, get_logger
from prodkit.telemetry.sink import LineSink


@pytest.fixture
def stream():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield io.BytesIO()
    structlog.reset_defaults()
    root.handlers[:], root.level = before[0], before[1]


@pytest.fixture
def lines(stream):
    configure_logging("shop", LineSink(stream), secret=["tax_id"])

    def read():
        text = stream.getvalue().decode()
        assert len(text.splitlines()) == text.count("\n")
        return [json.loads(line) for line in text.splitlines()]

    return read


def test_a_line_says_which_service_and_when(lines):
    get_logger("shop.orders").info("order placed", order_id=7)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "order placed",
        "order_id": 7,
        "logger": "shop.orders",
        "level": "info",
        "service": "shop",
        "request_id": "",
        "trace_id": "",
        "span_id": "",
    }


def test_a_line_of_a_call_says_which_request_and_trace(lines):
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, False))
    context = otel.set_value(SERVICE, "orders", trace.set_span_in_context(span))
    token, current = otel.attach(context), CURRENT.set(Call("op", request_id="r-1"))
    try:
        get_logger().warning("slow")
        logging.getLogger("lib").warning("slow too")
    finally:
        CURRENT.reset(current)
        otel.detach(token)
    for line in lines():
        assert line["service"] == "orders"
        assert line["request_id"] == "r-1"
        assert line["trace_id"] == f"{0xABC:032x}"
        assert line["span_id"] == f"{0xDEF:016x}"


def test_the_standard_library_comes_out_the_same(lines):
    logging.getLogger("lib").warning("%s of %d", "one", 2, extra={"password": "hunter2", "n": 1})
    (line,) = lines()
    assert line["event"] == "one of 2"
    assert line["logger"] == "lib"
    assert line["level"] == "warning"
    assert line["password"] == "[redacted]"
    assert line["n"] == 1


def test_a_broken_record_fails_nobody(lines, capsys):
    record = logging.makeLogRecord({"msg": "%d", "args": ("not a number",)})
    logging.getLogger().handlers[0].handle(record)
    assert lines() == []
    assert "not a number" in capsys.readouterr().err


def test_what_is_below_the_level_is_not_written(stream):
    configure_logging("shop", LineSink(stream), level="warning")
    get_logger().info("quiet")
    logging.getLogger("lib").info("quiet")
    assert stream.getvalue() == b""


def test_an_unknown_level_is_named(stream):
    with pytest.raises(ValueError, match="level must be"):
        configure_logging("shop", LineSink(stream), level="loud")


def test_exceptions_bring_their_stack_and_lose_their_secrets(lines):
    try:
        raise ValueError("cannot reach postgres://shop:hunter2@db with token=hunter3")
    except ValueError:
        get_logger().exception("failed")
        logging.getLogger("lib").exception("failed")
    for line in lines():
        assert "test_logs.py" in line["exception"]
        assert "ValueError" in line["exception"]
        assert "hunter" not in line["exception"]


def test_secret_fields_are_redacted_by_name_declared_ones_too(lines):
    get_logger().info("x", cvv="123", order={"tax_id": "12", "card": {"number": "4"}})
    (line,) = lines()
    assert line["cvv"] == "[redacted]"
    assert line["order"] == {"tax_id": "[redacted]", "card": "[redacted]"}


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nX-Evil: x",
        '"} {"level": "critical"',
        "\x1b[2J\x1b]0;title\x07",
        "\u2028\u2029\x85\x0b\x0c\x1c",
        "\u202egnp.exe\u2066",
        "\x9b31m\x7f",
        "\ud800",
        "naïve ☕ 日本語",
        10**400,
        float("nan"),
        b"\xff\x00",
        object(),
        {1: {2: {3}}},
    ],
    # Lone surrogates and addresses cannot name tests.
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else ascii(value),
)
def test_whatever_is_logged_is_one_valid_line_of_plain_text(stream, lines, value):
    get_logger().info("x", value=value, **{"odd\nkey\u2028": value})
    logging.getLogger("lib").warning("%s", value)
    first, second = lines()
    assert "value" in first
    assert second["level"] == "warning"
    if isinstance(value, str):
        assert first["value"] == value  # escaped, not lost
        raw = stream.getvalue().replace(b"\n", b"").decode()
        assert raw.isprintable()


def test_libraries_tell_their_debugging_only_where_they_are_asked_for_it(stream):
    configure_logging("shop", LineSink(stream), level="debug")
    get_logger().debug("ours")
    driver, asked = logging.getLogger("driver"), logging.getLogger("asked")
    asked.setLevel(logging.DEBUG)
    driver.debug("execute('INSERT ...', ('canary',))")
    asked.debug("theirs")
    asked.setLevel(logging.NOTSET)
    told = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert told == ["ours", "theirs"]


def test_a_line_is_encoded_whatever_its_strings_hold():
    assert json.loads(encode_line({"a": "\ud800\u2028", "b": 2**70})) == {
        "a": "\ud800\u2028",
        "b": 2**70,
    }
    assert encode_line({"a": "é"}) == '{"a":"é"}\n'.encode()
