"""Lines come out whole and in order; a reader that does not read holds nobody up."""

import io
import os
import threading

import pytest

from prodkit.telemetry.sink import LineSink


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    stream = os.fdopen(writer, "wb")
    yield reader, stream
    stream.close()
    os.close(reader)


def test_lines_go_to_an_in_memory_stream():
    stream = io.BytesIO()
    sink = LineSink(stream)
    sink.write(b"one\n")
    sink.write(b"two\n")
    assert stream.getvalue() == b"one\ntwo\n"
    assert sink.flush()


def test_lines_go_to_a_file_at_once(tmp_path):
    with (tmp_path / "log").open("wb") as stream:
        LineSink(stream).write(b"line\n")
        assert (tmp_path / "log").read_bytes() == b"line\n"


def test_a_full_pipe_holds_nobody_up_and_keeps_the_order(pipe):
    reader, stream = pipe
    sink = LineSink(stream, backlog=5000)
    lines = [b"%05d %s\n" % (number, b"x" * 92) for number in range(2000)]  # thrice the pipe
    writer = threading.Thread(target=lambda: [sink.write(line) for line in lines], daemon=True)
    writer.start()
    writer.join(10)
    assert not writer.is_alive()
    assert not sink.flush(0.0)
    received = b""
    while len(received) < sum(map(len, lines)):
        received += os.read(reader, 65536)
    assert received == b"".join(lines)
    assert sink.flush(10)
    assert sink.dropped == 0


def test_what_the_backlog_cannot_hold_is_dropped_and_counted(pipe):
    reader, stream = pipe
    sink = LineSink(stream, backlog=10)
    line = b"x" * 4095 + b"\n"
    for _ in range(100):
        sink.write(line)
    dropped = sink.dropped
    assert 50 < dropped < 90  # the pipe holds 16 such lines, the backlog 10, the thread one
    received = 0
    while received < (100 - dropped) * len(line):
        received += len(os.read(reader, 65536))
    assert sink.flush(10)
    assert received == (100 - dropped) * len(line)


def test_a_line_longer_than_a_pipe_arrives_whole(pipe):
    reader, stream = pipe
    sink = LineSink(stream)
    line = b"x" * 200_000 + b"\n"
    sink.write(line)
    received = b""
    while len(received) < len(line):
        received += os.read(reader, 65536)
    assert received == line


def test_a_reader_that_is_gone_is_no_reason_to_fail():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        sink = LineSink(stream)
        sink.write(b"line\n")
        sink.flush(10)
        assert sink.dropped == 1


def test_a_backlog_holds_something():
    with pytest.raises(ValueError, match="backlog"):
        LineSink(io.BytesIO(), backlog=0)
