"""The connection against a server that does what a test wants, down to the byte."""

import asyncio
import random
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from prodkit.errors import ConfigurationError, UnavailableError
from prodkit.stores.redis import CommandError, RedisConnection, link
from prodkit.stores.redis.script import Script

pytestmark = pytest.mark.anyio
#: Seconds. A busy machine may need so long; what hangs takes twice that, or for ever.
SOON = 5.0


def echo(command):
    return b"$%d\r\n%s\r\n" % (len(command[1]), command[1])


def silence(command):
    return None


def always(answer):
    return lambda command: answer


async def until(condition, seconds=3.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.005)


async def test_what_is_asked_in_one_turn_goes_out_together(scripted):
    async with scripted(echo) as server, RedisConnection(server.url) as redis:
        before = server.reads
        answers = await asyncio.gather(*(redis.execute("ECHO", n) for n in range(100)))
        assert answers == [b"%d" % n for n in range(100)]
        assert server.reads == before + 1
        assert redis.connections == 1


async def test_whoever_gives_up_disturbs_nobody(scripted):
    """Each caller gets its own answer, whatever was cancelled when, and however bytes arrive."""
    chance = random.Random(7)

    async def slow(command):
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.004)
        return echo(command)

    async def ask(redis, n):
        await asyncio.sleep(chance.random() * 0.1)
        return await redis.execute("ECHO", n)

    async with scripted(slow) as server, RedisConnection(server.url, timeout=5.0) as redis:
        tasks = [asyncio.create_task(ask(redis, n)) for n in range(600)]
        for _ in range(20):
            await asyncio.sleep(chance.random() * 0.01)
            for task in chance.sample(tasks, 10):
                task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in enumerate(answers):
            assert isinstance(answer, asyncio.CancelledError) or answer == b"%d" % n
        assert sum(isinstance(a, bytes) for a in answers) > 300
        assert redis.connections == 1


async def test_an_answer_that_comes_late_is_never_anothers(scripted):
    """Answers take up to three times as long as callers wait, on connections that come and go."""
    chance = random.Random(11)

    async def slow(command):
        if chance.random() < 0.1:
            await asyncio.sleep(chance.random() * 0.06)
        return echo(command)

    right = failed = 0
    async with scripted(slow) as server, RedisConnection(server.url, timeout=0.02) as redis:
        for n in range(200):
            try:
                assert await redis.execute("ECHO", n) == b"%d" % n
                right += 1
            except UnavailableError:
                failed += 1
                await asyncio.sleep(0.005)
        assert redis.connections > 1
    assert right > 10
    assert failed > 5


async def test_silence_fails_all_in_time_and_ends_the_connection(scripted):
    async with scripted(silence) as server, RedisConnection(server.url, timeout=0.05) as redis:
        began = time.monotonic()
        asked = (redis.execute("ECHO", n) for n in range(50))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert time.monotonic() - began < SOON
        assert {str(answer) for answer in answers} == {"Redis gave no answer in 0.05 s"}
        assert all(a.reason == "REDIS_AWAY" and a.retry_after == 1.0 for a in answers)
        with pytest.raises(UnavailableError):
            redis.execute("ECHO", "at once").send(None)
        await until(lambda: redis.connections == 2)
        server.answer = echo
        assert await redis.execute("ECHO", "new") == b"new"


async def test_silence_is_noticed_also_when_nobody_waits_any_more(scripted):
    async with scripted(silence) as server, RedisConnection(server.url, timeout=0.1) as redis:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(redis.execute("ECHO", 1), 0.02)
        await until(lambda: redis.connections == 2, 1.0)


async def test_one_slow_answer_fails_alone_while_others_come(scripted):
    """Redis is busy, not away: the queue moves, so the connection stays."""

    async def drip(command):
        await asyncio.sleep(0.02)
        return echo(command)

    async with scripted(drip) as server, RedisConnection(server.url, timeout=0.1) as redis:
        asked = (redis.execute("ECHO", n) for n in range(20))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        in_time = [answer for answer in answers if isinstance(answer, bytes)]
        assert in_time == [b"%d" % n for n in range(len(in_time))]
        assert 1 <= len(in_time) < 20
        await asyncio.sleep(0.3)
        assert await redis.execute("ECHO", "after") == b"after"
        assert redis.connections == 1


async def test_a_loop_that_stood_still_is_not_the_servers_fault(scripted):
    async with scripted(echo) as server, RedisConnection(server.url, timeout=0.05) as redis:
        task = asyncio.create_task(redis.execute("ECHO", 1))
        await asyncio.sleep(0.01)
        server.answer = echo
        other = asyncio.create_task(redis.execute("ECHO", 2))
        await asyncio.sleep(0)
        time.sleep(0.2)
        assert await asyncio.gather(task, other) == [b"1", b"2"]
        assert redis.connections == 1


@pytest.mark.parametrize("garbage", [b"?what\r\n", b"$-7x\r\n"])
async def test_what_is_no_answer_ends_the_connection(scripted, garbage):
    async with scripted(always(garbage)) as server, RedisConnection(server.url) as redis:
        with pytest.raises(UnavailableError, match="said what it was not asked"):
            await redis.execute("ECHO", 1)
        server.answer = echo
        await until(lambda: redis.connections == 2)
        assert await redis.execute("ECHO", "new") == b"new"


async def test_an_answer_too_many_ends_the_connection(scripted):
    two = always(b"+one\r\n+two\r\n")
    async with scripted(two) as server, RedisConnection(server.url) as redis:
        assert await redis.execute("ECHO", 1) == b"one"
        server.answer = echo
        await until(lambda: redis.connections == 2)
        assert await redis.execute("ECHO", "new") == b"new"


async def test_a_truncated_answer_is_no_answer(scripted):
    half = always(b"$10\r\nhalf")
    async with scripted(half) as server, RedisConnection(server.url, timeout=1.0) as redis:
        task = asyncio.create_task(redis.execute("ECHO", 1))
        await until(lambda: server.commands)
        await asyncio.sleep(0.06)
        server.answer = echo
        server.writers[0].close()
        with pytest.raises(UnavailableError, match="closed the connection"):
            await task
        assert await redis.execute("ECHO", "new") == b"new"


async def test_a_connection_that_was_closed_while_idle_is_replaced_unnoticed(scripted):
    async with scripted(echo) as server, RedisConnection(server.url, timeout=1.0) as redis:
        await asyncio.sleep(0.06)
        for turn in range(3):
            server.writers[-1].close()
            await asyncio.sleep(0.002 * turn)
            await until(lambda turn=turn: not _open(redis, turn + 1))
            assert await redis.execute("ECHO", turn) == b"%d" % turn
            await asyncio.sleep(0.06)
        assert redis.connections == 4


def _open(redis, made):
    """Say whether the connection made as number `made` is believed to be there still."""
    wire = redis._link.wire
    return redis.connections == made and wire is not None and wire._released is not None


@pytest.mark.parametrize(
    "word", ["LOADING Redis is loading", "OOM command not allowed", "MISCONF", "BUSY", "READONLY"]
)
async def test_a_redis_that_cannot_serve_is_away(scripted, word):
    answer = always(b"-%s\r\n" % word.encode())
    async with scripted(answer) as server, RedisConnection(server.url) as redis:
        with pytest.raises(UnavailableError, match=f"cannot serve: {word.split()[0]}"):
            await redis.execute("SET", "a", 1)
        if word == "READONLY":  # the primary is elsewhere now: perhaps the name says where
            await until(lambda: redis.connections == 2)
        server.answer = echo
        assert await redis.execute("ECHO", "x") == b"x"


async def test_a_mistake_of_ours_is_told_as_one(scripted):
    answer = always(b"-ERR wrong number of arguments\r\n")
    async with scripted(answer) as server, RedisConnection(server.url) as redis:
        with pytest.raises(CommandError) as refused:
            await redis.execute("GET")
        assert str(refused.value.__cause__) == "ERR wrong number of arguments"
        assert redis.connections == 1


async def test_a_server_that_does_not_let_us_in_is_a_mistake_in_the_configuration(scripted):
    answer = always(b"-WRONGPASS invalid username-password pair\r\n")
    async with scripted(answer) as server:
        redis = RedisConnection(server.url.replace("//", "//:wrong@"), required=False)
        with pytest.raises(ConfigurationError, match="does not let us in: WRONGPASS"):
            await redis.start()
        await redis.aclose()


async def test_a_server_that_is_full_is_away(scripted):
    async with scripted(always(b"-ERR max number of clients reached\r\n")) as server:
        with pytest.raises(UnavailableError, match="MAXCLIENTS"):
            await RedisConnection(f"{server.url}/1").start()


async def test_nobody_there_is_told_at_the_start():
    redis = RedisConnection("redis://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="cannot be reached: Connection refused") as away:
        await redis.start()
    assert "127.0.0.1" not in away.value.message  # which strangers may read
    with pytest.raises(UnavailableError, match="was not started"):
        await redis.ping()
    await redis.aclose()


async def test_nobody_there_may_be_borne():
    redis = RedisConnection("redis://127.0.0.1:1", required=False)
    await redis.start()
    await redis.start()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await redis.ping()
    await asyncio.sleep(0.12)
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await redis.ping()
    await redis.aclose()
    with pytest.raises(UnavailableError, match="was closed"):
        await redis.ping()


async def test_a_server_that_lets_nobody_in_is_given_up_in_time():
    async def never(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"did not let us in within 0\.05 s"):
        await RedisConnection(url, connect_timeout=0.05).start()
    assert time.monotonic() - began < SOON
    server.close()


async def test_a_server_that_closes_as_soon_as_it_has_greeted_lets_nobody_hang(scripted):
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(b"+PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with RedisConnection(url, timeout=0.05, required=False) as redis:
        for _ in range(30):
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(redis.execute("ECHO", 1), 1.0)
            await asyncio.sleep(0.01)
    server.close()


async def test_whoever_comes_while_a_new_connection_is_made_waits_for_it_only_so_long(scripted):
    async with scripted(echo) as server, RedisConnection(server.url, timeout=0.05) as redis:
        await asyncio.sleep(0.06)
        gate, answer = asyncio.Event(), server.answer

        async def held(command):
            await gate.wait()
            return answer(command)

        server.answer = held
        greeted = server.greeted
        task = asyncio.create_task(redis.execute("ECHO", "under way"))
        await until(lambda: len(server.commands) == 1)
        server.writers[0].transport.abort()
        with pytest.raises(UnavailableError):
            await task
        gate.set()
        server.answer = echo
        assert await redis.execute("ECHO", "next") == b"next"
        assert server.greeted == greeted + 1


async def test_the_queue_is_bounded(scripted):
    async with scripted(silence) as server, RedisConnection(server.url, max_pending=10) as redis:
        asked = (redis.execute("ECHO", n) for n in range(15))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum("and gets no more" in str(answer) for answer in answers) == 5


async def test_stop_waits_for_the_answers_under_way(scripted):
    async def slow(command):
        await asyncio.sleep(0.03)
        return echo(command)

    async with scripted(slow) as server:
        redis = RedisConnection(server.url, timeout=1.0)
        await redis.start()
        task = asyncio.create_task(redis.execute("ECHO", "last"))
        await asyncio.sleep(0)
        await redis.stop(1.0)
        assert await task == b"last"
        await redis.stop(1.0)


async def test_stop_waits_no_longer_than_it_may(scripted):
    async with scripted(silence) as server:
        redis = RedisConnection(server.url, timeout=5.0)
        await redis.start()
        task = asyncio.create_task(redis.execute("ECHO", "last"))
        await asyncio.sleep(0)
        began = time.monotonic()
        await redis.stop(0.03)
        assert time.monotonic() - began < SOON
        with pytest.raises(UnavailableError, match="was closed"):
            await task
        assert not [task for task in asyncio.all_tasks() if "redis" in task.get_name()]


async def test_it_may_be_started_again(scripted):
    async with scripted(echo) as server:
        redis = RedisConnection(server.url)
        for turn in range(3):
            await redis.start()
            assert await redis.execute("ECHO", turn) == b"%d" % turn
            await redis.stop(1.0)
        assert redis.connections == 3


async def test_closing_while_a_connection_is_being_made(scripted):
    async with scripted(echo) as server:
        redis = RedisConnection(server.url)
        await redis.start()
        await asyncio.sleep(0.06)
        for writer in server.writers:
            writer.transport.abort()
        await until(lambda: not _open(redis, 1))
        await asyncio.wait_for(redis.aclose(), 1.0)


async def test_a_connection_over_a_unix_socket(scripted, tmp_path):
    path = str(tmp_path / "redis.sock")
    async with scripted(echo, path=path), RedisConnection(f"unix://{path}?db=0") as redis:
        assert await redis.execute("ECHO", 1) == b"1"


def certified(folder):
    """Return a certificate for 127.0.0.1, signed by itself, and a server's context with it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "server.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return path, context


async def test_a_connection_over_tls_is_to_whom_it_should_be(scripted, tmp_path):
    path, context = certified(tmp_path)
    async with scripted(echo, ssl=context) as server:
        async with RedisConnection(f"{server.url}?ssl_ca_certs={path}") as redis:
            asked = (redis.execute("ECHO", n) for n in range(100))
            assert await asyncio.gather(*asked) == [b"%d" % n for n in range(100)]
        with pytest.raises(UnavailableError, match="cannot be reached") as refused:
            await RedisConnection(server.url).start()
        assert isinstance(refused.value.__cause__, ssl.SSLCertVerificationError)
        assert refused.value.message == "Redis cannot be reached: SSLCertVerificationError"


async def test_pauses_are_short_again_after_a_connection_that_lasted(scripted, monkeypatch):
    monkeypatch.setattr(link, "_LONGEST_PAUSE", 0.06)
    async with scripted(echo) as server, RedisConnection(server.url) as redis:
        for made in (1, 2):
            await until(lambda made=made: _open(redis, made))
            await asyncio.sleep(0.07)
            server.writers[-1].close()
        await until(lambda: _open(redis, 3))


class Library:
    """Knows no script until it is loaded, and may forget."""

    def __init__(self, *, forgets=0, full=False):
        self.loads = 0
        self.known = False
        self.forgets = forgets
        self.full = full

    def __call__(self, command):
        if command[0] == b"SCRIPT":
            self.loads += 1
            if self.full:
                return b"-OOM no room\r\n"
            self.known = True
            return b"+OK\r\n"
        if self.known and not self.forgets:
            return b":%s\r\n" % command[3]
        self.forgets = max(self.forgets - 1, 0)
        return b"-NOSCRIPT No matching script.\r\n"


async def test_a_script_that_is_not_known_is_loaded_once_for_all(scripted):
    library = Library()
    async with scripted(library) as server, RedisConnection(server.url) as redis:
        script = Script(redis, "cache")
        answers = await asyncio.gather(*(script(1, n) for n in range(100)))
        assert answers == list(range(100))
        assert library.loads == 1
        library.known = False
        assert await script(1, 5) == 5
        assert library.loads == 2


async def test_a_script_that_is_forgotten_at_once_is_not_loaded_for_ever(scripted):
    library = Library(forgets=2)
    async with scripted(library) as server, RedisConnection(server.url) as redis:
        script = Script(redis, "cache")
        assert await script(1, 5) == 5
        library.forgets = 100
        with pytest.raises(CommandError) as refused:
            await script(1, 5)
        assert refused.value.__cause__.word == "NOSCRIPT"


async def test_a_script_that_cannot_be_loaded_says_why(scripted):
    async with scripted(Library(full=True)) as server, RedisConnection(server.url) as redis:
        with pytest.raises(UnavailableError, match="OOM"):
            await Script(redis, "cache")(1, 5)
