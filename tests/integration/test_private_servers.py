"""Private servers, started for real: what happens to them, and that nothing of them is left."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prodkit.testing.servers import (
    PrivatePostgres,
    PrivateRabbitMQ,
    PrivateRedis,
    ServerError,
    postgres,
)
from prodkit.testing.servers.private import PrivateServer, accepts, binary, folder_for, free_port


def redis(server, *words, within=5.0):
    with socket.create_connection(("127.0.0.1", server.port), timeout=within) as sock:
        sock.sendall((" ".join(words) + "\r\n").encode())
        return sock.recv(1024).decode().strip()


def psql(server, statement):
    program = binary("psql", "usr/lib/postgresql/*/bin", package="postgresql-client")
    done = subprocess.run(
        [program, "-At", server.dsn, "-c", statement], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def until(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_redis_lives_dies_and_comes_back_empty():
    with PrivateRedis() as server:
        assert redis(server, "SET", "a", "1") == "+OK"
        server.kill()
        assert not accepts(server.port)
        server.start()
        assert redis(server, "GET", "a") == "$-1"
    assert not accepts(server.port)
    assert not server.folder.exists()


def test_a_paused_server_hangs_and_goes_on():
    with PrivateRedis() as server:
        server.pause()
        with pytest.raises(TimeoutError):
            redis(server, "PING", within=0.3)
        server.resume()
        assert redis(server, "PING") == "+PONG"
        server.pause()  # and it can be ended like that
    assert not server.folder.exists()


def test_postgres_keeps_what_was_committed_when_it_is_killed():
    with PrivatePostgres(settings={"max_connections": "17"}) as server:
        psql(server, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")
        assert psql(server, "SHOW max_connections") == "17"
        server.kill()
        assert not accepts(server.port)
        server.start()
        assert psql(server, "SELECT sum(n) FROM t") == "3"
        server.stop()
        assert not accepts(server.port)
    assert not server.folder.exists()


def test_a_standby_has_what_was_committed_and_takes_over():
    with PrivatePostgres() as primary, PrivatePostgres(standby_of=primary) as standby:
        primary.ask("CREATE TABLE t AS SELECT 7 AS n")
        assert standby.in_recovery
        primary.kill()
        assert standby.ask("SELECT n FROM t") == "7"
        with pytest.raises(ServerError, match="read-only"):
            standby.ask("DELETE FROM t")
        standby.promote()
        standby.ask("DELETE FROM t")
        with pytest.raises(ServerError, match="psql failed"):
            standby.promote()
    assert not standby.folder.exists()


def test_a_standby_of_a_server_that_does_not_run_says_so_and_leaves_nothing(monkeypatch):
    folders = []

    def recorded(*words):
        folders.append(folder_for(*words))
        return folders[-1]

    with PrivatePostgres() as primary:
        primary.stop()
        monkeypatch.setattr(postgres, "folder_for", recorded)
        with pytest.raises(ServerError, match="pg_basebackup failed"):
            PrivatePostgres(standby_of=primary)
    assert [folder.exists() for folder in folders] == [False]


def test_rabbitmq_starts_obeys_and_ends():
    with PrivateRabbitMQ() as server:
        assert accepts(server.port)
        assert "guest" in server.control("list_users")
        assert "rabbitmq_consistent_hash_exchange" in server.control("status")
    assert not accepts(server.port)
    assert not server.folder.exists()


def test_a_server_ends_with_its_starter_even_by_kill_9():
    code = """
import time
from prodkit.testing.servers import PrivateRedis
server = PrivateRedis()
server.start()
print(server.port, server.folder, flush=True)
time.sleep(60)
"""
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with starter:
        port, folder = starter.stdout.readline().split()
        assert accepts(int(port))
        os.kill(starter.pid, signal.SIGKILL)
    assert until(lambda: not accepts(int(port)))
    assert until(lambda: not Path(folder).exists())


def test_a_server_that_does_not_start_says_why():
    folder = folder_for("sh")
    command = ["sh", "-c", "echo out of paper >&2; exit 1"]
    server = PrivateServer("printer", folder, command, lambda: False, patience=0.5)
    with pytest.raises(ServerError, match=r"printer did not start in 0\.5 s: out of paper"), server:
        pass
    assert not folder.exists()


def test_a_program_that_is_not_there_says_what_to_install():
    with pytest.raises(ServerError, match="no-such-thing is not installed; on Debian: apt-get"):
        binary("no-such-thing", "opt/none/*", package="nothing")


def test_a_command_that_cannot_run_is_told():
    server = PrivateServer("none", folder_for("none"), ["/no/such/binary"], lambda: True)
    try:
        with pytest.raises(ServerError, match=r"none: error: .*No such file"):
            server.start()
    finally:
        server.close()


def test_free_ports_are_free():
    assert not accepts(free_port())
