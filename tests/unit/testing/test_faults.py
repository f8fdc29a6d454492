import asyncio
from contextlib import asynccontextmanager

import pytest

from prodkit.errors import ConfigurationError
from prodkit.testing.faults import FaultProxy

pytestmark = pytest.mark.anyio
SOON = 0.15  # long enough for loopback, short enough for a test that nothing comes


@asynccontextmanager
async def echoing():
    """A server that says what it hears, in capitals, behind a proxy."""

    async def echo(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
        writer.write(b"BYE\n")
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()


async def connect(proxy):
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(reader, writer, line=b"hello\n", within=5.0):
    writer.write(line)
    return await asyncio.wait_for(reader.readline(), within)


async def test_a_healthy_proxy_carries_bytes_and_the_end_of_them():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        assert await ask(reader, writer) == b"HELLO\n"
        assert proxy.connections == 1
        writer.write_eof()
        assert await reader.read() == b"BYE\n"
        writer.close()
        while proxy.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_delay_holds_bytes_back_and_heals(direction):
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        proxy.delay(SOON, direction)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await ask(reader, writer) == b"HELLO\n"
        assert loop.time() - began >= SOON
        proxy.heal()
        assert await ask(reader, writer, b"again\n") == b"AGAIN\n"


@pytest.mark.parametrize("direction", ["up", "down", "both"])
async def test_a_black_hole_swallows_until_it_heals(direction):
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        proxy.black_hole(direction)
        with pytest.raises(TimeoutError):
            await ask(reader, writer, within=SOON)
        assert proxy.connections == 1
        proxy.heal()
        assert await asyncio.wait_for(reader.readline(), 5.0) == b"HELLO\n"


async def test_a_new_connection_falls_into_the_hole_too():
    async with echoing() as proxy:
        proxy.black_hole()
        reader, writer = await connect(proxy)
        with pytest.raises(TimeoutError):
            await ask(reader, writer, within=SOON)


async def test_a_cut_comes_after_so_many_bytes():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        proxy.truncate(3)
        writer.write(b"hello\n")
        assert await asyncio.wait_for(reader.read(), 5.0) == b"HEL"
        proxy.heal()
        assert await ask(*await connect(proxy)) == b"HELLO\n"


async def test_what_was_sent_can_be_cut_on_its_way_up():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        proxy.truncate(0, "up")
        writer.write(b"hello\n")
        assert await asyncio.wait_for(reader.read(), 5.0) == b""


async def test_connections_end_politely():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        await ask(reader, writer)
        proxy.drop()
        assert await asyncio.wait_for(reader.read(), 5.0) == b""
        assert await ask(*await connect(proxy)) == b"HELLO\n"


async def test_connections_are_reset():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        await ask(reader, writer)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5.0)


async def test_new_connections_are_refused():
    async with echoing() as proxy:
        reader, writer = await connect(proxy)
        proxy.refuse()
        with pytest.raises(OSError):
            await ask(*await connect(proxy))
        assert await ask(reader, writer) == b"HELLO\n"  # who was there stays
        proxy.heal()
        assert await ask(*await connect(proxy)) == b"HELLO\n"


async def test_a_server_that_is_away_looks_so_to_the_client():
    async with FaultProxy("127.0.0.1", 1) as proxy:
        reader, _ = await connect(proxy)
        assert await asyncio.wait_for(reader.read(), 5.0) == b""


async def test_closing_leaves_nothing_behind():
    async with echoing() as proxy:
        for _ in range(10):
            await ask(*await connect(proxy))
        proxy.black_hole()
        await proxy.aclose()
        assert proxy.connections == 0
    assert len(asyncio.all_tasks()) <= 1 + 10  # the echo server's own ends


def test_a_proxy_has_no_port_before_it_starts():
    with pytest.raises(RuntimeError, match="before it is started"):
        FaultProxy("127.0.0.1", 1).port  # noqa: B018


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda proxy: proxy.delay(-1), "seconds must be a number of 0 or more"),
        (lambda proxy: proxy.delay(float("nan")), "seconds must be"),
        (lambda proxy: proxy.truncate(-1), "after must be 0 or more"),
        (lambda proxy: proxy.black_hole("sideways"), "direction must be up, down or both"),
    ],
)
def test_wrong_faults_are_refused(fault, words):
    with pytest.raises(ConfigurationError, match=words):
        fault(FaultProxy("127.0.0.1", 1))
