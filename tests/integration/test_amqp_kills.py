"""RabbitMQ, inbox and consumers under kill -9, at length (scenarios 30 and 32)."""

import os
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import asyncpg
import pytest

from prodkit.testing.servers import PrivateRabbitMQ

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(900)]
PROCESS = Path(__file__).with_name("amqp_process.py")
EVENTS = 2000


@pytest.fixture(scope="module")
def server():
    with PrivateRabbitMQ() as server:
        yield server


def consumed(server, folder, mail, *, ordered, kills):
    """Have four consumers handle all events, however many are killed; return how long it took."""
    began = time.monotonic()
    settings = {
        "MAIL_URL": mail,
        "AMQP_URL": server.url,
        "EXCHANGE": f"kills-{ordered}",
        "EVENTS": str(EVENTS),
        "ORDERED": "yes" if ordered else "no",
        "WORKERS": "4",
        "PACE": "5",
    }
    command = [sys.executable, str(PROCESS), str(folder), str(kills)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **settings}
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


async def handled(mail):
    connection = await asyncpg.connect(mail, timeout=10)
    try:
        statement = "SELECT event, subject, version FROM handled ORDER BY seq"
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def test_30_each_message_five_times_and_consumers_that_die_before_they_acknowledge(
    server, tmp_path, postgres_url
):
    """Scenario 30: the state changes once for each event, and each is told once."""
    took = consumed(server, tmp_path, postgres_url, ordered=False, kills=40)
    changes = Counter(event for event, _, _ in await handled(postgres_url))
    mails = Counter((tmp_path / "mails").read_text().split())
    print(  # noqa: T201 - its figures
        f"\n30 inbox: 5 x {EVENTS} messages, 4 consumers, 40 kills between commit and ack in"
        f" {took:.0f} s; {len(changes)} events handled, at most {max(changes.values())} times;"
        f" {len(mails)} mails, at most {max(mails.values())} an event"
    )
    assert len(changes) == len(mails) == EVENTS
    assert max(changes.values()) == max(mails.values()) == 1


async def test_32_each_orders_versions_are_handled_in_order_whoever_is_killed(
    server, tmp_path, postgres_url
):
    """Scenario 32: kills anywhere, redelivery, handlers that fail; versions only rise."""
    took = consumed(server, tmp_path, postgres_url, ordered=True, kills=40)
    versions = defaultdict(list)
    rows = await handled(postgres_url)
    for _, subject, version in rows:
        versions[subject].append(version)
    wrong = [subject for subject, each in versions.items() if each != sorted(set(each))]
    print(  # noqa: T201 - its figures
        f"\n32 order: 5 x {EVENTS} messages of {len(versions)} orders, 4 consumers, 40 kills in"
        f" {took:.0f} s; {len(rows)} handled, {len(wrong)} orders out of sequence"
    )
    assert len(rows) == EVENTS
    assert not wrong
