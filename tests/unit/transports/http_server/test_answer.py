"""What an answer looks like on the wire, and what no application may write there."""

import asyncio
from types import SimpleNamespace

import pytest

from prodkit.transports.http_server.answer import Answer

pytestmark = pytest.mark.anyio
START, BODY = "http.response.start", "http.response.body"


class Wire:
    """A transport that remembers each write."""

    def __init__(self):
        self.writes = []
        self.closed = False

    def write(self, data):
        self.writes.append(data)

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True


class Flow:
    write_paused = False

    async def drain(self):
        self.write_paused = False


class Exchange:
    """One request of which an app's messages make the answer."""

    def __init__(self, method="GET", keep_alive=True):
        self.wire, self.flow, self.completed = Wire(), Flow(), 0
        self.cycle = SimpleNamespace(
            scope={"method": method},
            transport=self.wire,
            flow=self.flow,
            default_headers=[(b"date", b"today")],
            message_event=asyncio.Event(),
            keep_alive=keep_alive,
            disconnected=False,
            response_started=False,
            response_complete=False,
            waiting_for_100_continue=True,
            on_response=self._complete,
        )

    def _complete(self):
        self.completed += 1

    async def run(self, *messages):
        async def app(_scope, _receive, send):
            for message in messages:
                if isinstance(message, BaseException):
                    raise message
                await send(message)

        await Answer(self.cycle, app).run(self.cycle.scope, None, None)
        return self.wire.writes


def start(*headers, status=200):
    return {"type": START, "status": status, "headers": list(headers)}


def body(data=b"", more=False):
    return {"type": BODY, "body": data, "more_body": more}


def length(number):
    return (b"Content-Length", str(number).encode())


HEAD = b"HTTP/1.1 200 OK\r\ndate: today\r\n"


class TestWrites:
    async def test_an_answer_of_known_length_is_one_write(self):
        exchange = Exchange()
        writes = await exchange.run(start(length(5)), body(b"hello"))
        assert writes == [HEAD + b"content-length: 5\r\n\r\nhello"]
        assert exchange.completed == 1
        assert exchange.cycle.response_complete
        assert exchange.cycle.message_event.is_set()
        assert not exchange.wire.closed

    async def test_a_large_body_is_not_copied(self):
        large = b"x" * 100_000
        writes = await Exchange().run(start(length(100_000)), body(large))
        assert writes[1:] == [large]

    async def test_a_stream_says_at_once_that_it_begins(self):
        exchange = Exchange()
        assert await exchange.run(start()) == [HEAD + b"transfer-encoding: chunked\r\n\r\n"]

    async def test_chunks_and_the_end_of_them(self):
        writes = await Exchange().run(start(), body(b"a", more=True), body(more=True), body(b"b"))
        assert writes[0] == HEAD + b"transfer-encoding: chunked\r\n\r\n"
        assert writes[1:] == [b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"]

    async def test_chunks_that_the_application_declares(self):
        headers = (length(9), (b"Transfer-Encoding", b"chunked"))
        writes = await Exchange().run(start(*headers), body(b"a"))
        assert writes[1] == b"1\r\na\r\n0\r\n\r\n"

    async def test_a_length_after_declared_chunks_is_not_counted(self):
        headers = ((b"transfer-encoding", b"chunked"), length(9))
        writes = await Exchange().run(start(*headers), body(b"a"))
        assert writes[1] == b"1\r\na\r\n0\r\n\r\n"

    async def test_a_coding_that_is_none_of_ours_is_passed_on(self):
        writes = await Exchange().run(start(length(1), (b"transfer-encoding", b"x")), body(b"a"))
        assert writes[0].endswith(b"\r\n\r\na")

    async def test_a_head_request_gets_no_body(self):
        writes = await Exchange("HEAD").run(start(length(5)), body(b"hello"))
        assert writes == [HEAD + b"content-length: 5\r\n\r\n"]

    @pytest.mark.parametrize("status", [204, 304])
    async def test_a_status_without_a_body_needs_no_framing(self, status):
        (written,) = await Exchange().run(start(status=status), body())
        assert b"transfer-encoding" not in written
        assert written.endswith(b"date: today\r\n\r\n")

    async def test_a_head_whose_body_never_comes_leaves_in_the_end(self):
        exchange = Exchange()
        assert await exchange.run(start(length(5))) == [HEAD + b"content-length: 5\r\n\r\n"]
        assert not exchange.cycle.response_complete

    async def test_it_waits_for_a_socket_that_is_full(self):
        exchange = Exchange()
        exchange.flow.write_paused = True
        assert await exchange.run(start(length(0)), body())
        assert not exchange.flow.write_paused


class TestConnection:
    async def test_the_last_answer_says_so_and_closes(self):
        exchange = Exchange(keep_alive=False)
        (written,) = await exchange.run(start(length(0)), body())
        assert b"\r\nconnection: close\r\n" in written
        assert exchange.wire.closed

    async def test_the_application_may_end_the_connection(self):
        exchange = Exchange()
        close = (b"connection", b"x, Close")
        (written,) = await exchange.run(start(length(0), close), body())
        assert written.count(b"connection:") == 1
        assert exchange.wire.closed

    async def test_other_words_do_not_end_it(self):
        exchange = Exchange()
        await exchange.run(start(length(0), (b"connection", b"keep-alive")), body())
        assert not exchange.wire.closed

    async def test_who_left_is_told_nothing(self):
        exchange = Exchange()
        exchange.cycle.disconnected = True
        assert await exchange.run(start(length(0)), body()) == []

    async def test_what_is_cancelled_halfway_is_broken_off(self):
        exchange = Exchange()
        assert await exchange.run(start(length(5)), asyncio.CancelledError()) == []
        assert exchange.wire.closed
        assert exchange.cycle.disconnected

    async def test_what_is_cancelled_after_its_answer_leaves_the_connection_alone(self):
        exchange = Exchange()
        await exchange.run(start(length(0)), body(), asyncio.CancelledError())
        assert not exchange.wire.closed


class TestRefusals:
    @pytest.mark.parametrize(
        "header",
        [
            (b"x", b"a\r\nset-cookie: b"),
            (b"x", b"a\nb"),
            (b"x", b"a\x00"),
            (b"x", b"a\x7f"),
            (b"x", b"a\r\n"),
            (b"x: y\r\nz", b"a"),
            (b"x y", b"a"),
            (b"x:", b"a"),
            (b"", b"a"),
        ],
    )
    async def test_a_header_that_is_unsound_is_never_written(self, header):
        exchange = Exchange()
        with pytest.raises(RuntimeError, match="header"):
            await exchange.run(start(length(0), header), body())
        assert exchange.wire.writes == []
        assert not exchange.cycle.response_started  # so that the answer can be a 500

    async def test_a_tab_and_bytes_beyond_ascii_are_allowed(self):
        (written,) = await Exchange().run(start(length(0), (b"X", b"a\tb\xe9")), body())
        assert b"\r\nx: a\tb\xe9\r\n" in written

    @pytest.mark.parametrize(
        ("messages", "why"),
        [
            ([body()], "begins with its start"),
            ([start(length(0)), start()], "has a body"),
            ([start(length(0)), body(), body()], "was complete"),
            ([start(length(1)), body(b"ab")], "longer"),
            ([start(length(2)), body(b"a")], "shorter"),
        ],
    )
    async def test_messages_out_of_turn_and_wrong_lengths(self, messages, why):
        with pytest.raises(RuntimeError, match=why):
            await Exchange().run(*messages)
