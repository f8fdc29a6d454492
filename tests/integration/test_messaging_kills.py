"""Outbox, broker and inbox under kill -9 (scenarios 26, 30 and 32)."""

import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PROCESS = Path(__file__).with_name("messaging_process.py")


@pytest.mark.timeout(110)
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_what_committed_is_handled_once_and_in_order_whatever_is_killed(tmp_path, kills):
    command = [sys.executable, str(PROCESS), str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "orders.sqlite") as orders:
        committed = {event for (event,) in orders.execute("SELECT event FROM orders")}
        published = {event for (event,) in orders.execute("SELECT id FROM outbox")}
    with sqlite3.connect(tmp_path / "mail.sqlite") as mail:
        handled = mail.execute(
            "SELECT event, subject, version FROM handled ORDER BY seq"
        ).fetchall()
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    assert len(acknowledged) > kills
    assert set(acknowledged) <= committed
    assert published == committed
    assert {event for event, _, _ in handled} == committed
    assert max(Counter(event for event, _, _ in handled).values()) == 1
    versions = defaultdict(list)
    for _, subject, version in handled:
        versions[subject].append(version)
    assert all(each == sorted(each) for each in versions.values())
    with sqlite3.connect(tmp_path / "broker.sqlite") as broker:
        assert broker.execute("SELECT count(*) FROM dead_letter").fetchone() == (0,)
