"""A whole process under real signals: ready, drained, cut, dead."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("service_process.py")


class Process:
    """A service of its own process; its ports are told on its first line of output."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        line = self.process.stdout.readline()
        assert line.startswith("{"), line + self.process.stderr.read()
        self.ports = json.loads(line)
        while self.get("/health/ready")[0] != 200:  # the ports were open a moment before
            time.sleep(0.01)

    def get(self, path, port="http", timeout=15):
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=timeout) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self, timeout):
        out, _ = self.process.communicate(timeout=timeout)
        return self.process.returncode, out.splitlines()


@pytest.fixture
def start():
    started = []

    def start(*options):
        started.append(Process(*options))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
        process.process.communicate()


async def in_thread(function, *args, **kwargs):
    return await asyncio.to_thread(function, *args, **kwargs)


@pytest.mark.anyio
async def test_a_request_in_flight_is_answered_and_the_exit_is_clean(start):
    service = start("--drain-delay=0.5", "--drain-timeout=5")
    slow = asyncio.create_task(in_thread(service.get, "/slow?seconds=1.5"))
    await asyncio.sleep(0.3)
    service.signal()
    await asyncio.sleep(0.2)
    assert service.get("/health/ready", "admin")[0] == 503
    assert service.get("/health/live", "admin")[0] == 200
    assert service.get("/slow?seconds=0") == (200, "done")  # within the drain delay it serves on
    assert await slow == (200, "done")
    code, journal = await in_thread(service.end, 5)
    assert code == 0
    assert [line for line in journal if line.startswith("-")] == ["-broker", "-database"]


def test_the_drain_is_bound(start):
    """Scenario 34: a 10 s request under a 1 s budget; exit by budget + 1 s, non-zero."""
    service = start("--drain-delay=0", "--drain-timeout=1")
    with socket.create_connection(("127.0.0.1", service.ports["http"])) as client:
        client.sendall(b"GET /slow?seconds=10 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)
        began = time.monotonic()
        service.signal()
        code, journal = service.end(timeout=5)
    assert code == 1
    assert 1.0 <= time.monotonic() - began < 2.5
    assert "handler cancelled" in journal
    assert journal.index("handler cancelled") < journal.index("-database")


def test_a_second_signal_ends_it_at_once(start):
    service = start("--drain-delay=30", "--drain-timeout=30")
    service.signal()
    time.sleep(0.3)
    assert service.process.poll() is None
    began = time.monotonic()
    service.signal(signal.SIGINT)
    code, journal = service.end(timeout=5)
    assert code == 1
    assert time.monotonic() - began < 2
    assert journal[-1] == "-database"


def test_a_thread_that_never_ends_cannot_keep_the_process(start):
    service = start("--drain-delay=0", "--drain-timeout=0.2")
    assert service.get("/stuck")[0] == 202
    service.signal()
    code, _ = service.end(timeout=6)
    assert code == 1


def test_a_part_that_dies_takes_the_process_down_in_order(start):
    service = start("--drain-delay=0.1", "--drain-timeout=5")
    assert service.get("/kill-worker")[0] == 202
    code, journal = service.end(timeout=5)
    assert code == 1
    assert journal[-2:] == ["-broker", "-database"]


def test_a_taken_port_unwinds_the_start(start):
    service = start()
    taken = service.ports["http"]
    other = subprocess.run(
        [sys.executable, str(PROGRAM), f"--port={taken}"],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert other.returncode == 1
    assert other.stdout.splitlines()[-2:] == ["-broker", "-database"]


def test_sigint_drains_too(start):
    service = start("--drain-delay=0", "--drain-timeout=5")
    service.signal(signal.SIGINT)
    assert service.end(timeout=5)[0] == 0


@pytest.mark.parametrize(("environment", "status"), [("test", 500), ("production", 200)])
def test_a_remote_call_inside_a_transaction_fails_but_in_production(start, environment, status):
    service = start(f"--environment={environment}")
    assert service.get("/hold")[0] == status


def test_what_a_process_began_with_is_no_work_for_the_garbage_collector(start):
    assert int(start().get("/frozen")[1]) > 10_000
