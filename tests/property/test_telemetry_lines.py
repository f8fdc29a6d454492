"""Whatever a stranger sends: one valid line of JSON, no label, no secret, no header of his own."""

import io
import json
import string

from hypothesis import given
from hypothesis import strategies as st

from prodkit.security.redaction import Redactor, passes_luhn
from prodkit.telemetry.logs import encode_line
from prodkit.telemetry.propagation import parse
from prodkit.telemetry.sink import LineSink

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters()), plain, max_size=5))
def test_anything_is_one_valid_line_of_plain_text(fields):
    stream = io.BytesIO()
    LineSink(stream).write(encode_line(Redactor().fields(fields)))
    text = stream.getvalue().decode()
    (line,) = text.splitlines()
    assert set(json.loads(line)) == {str(name) for name in fields}
    assert "\x1b" not in line
    assert "\x9b" not in line


@st.composite
def card_numbers(draw):
    first = draw(st.sampled_from("23456789"))
    body = first + draw(st.text(string.digits, min_size=11, max_size=17))
    check = next(digit for digit in string.digits if passes_luhn(body + digit))
    return body + check


@given(card_numbers(), st.sampled_from(["", " ", "-"]), st.text(string.ascii_letters, max_size=9))
def test_no_card_number_survives(number, separator, around):
    written = separator.join(number[at : at + 4] for at in range(0, len(number), 4))
    assert written not in Redactor().text(f"{around}{written}{around}")
    assert written not in json.dumps(Redactor().fields({around or "x": [written, int(number)]}))


@given(st.text(st.sampled_from("0123456789abcdefABCDEF-_+ gx"), max_size=60) | st.text())
def test_a_traceparent_is_valid_or_starts_anew(header):
    parent = parse(header)
    if parent is not None:
        trace_id, span_id, flags = parent
        assert header[3:55] == f"{trace_id:032x}-{span_id:016x}-{flags:02x}"
        assert 0 < trace_id < 1 << 128
        assert 0 < span_id < 1 << 64


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 255))
def test_what_is_written_is_read(trace_id, span_id, flags):
    assert parse(f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}") == (trace_id, span_id, flags)
