"""Sagas under kill -9 (scenario 4): every checkout ends with all of its effects or with none."""

import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

PROCESS = Path(__file__).with_name("saga_process.py")


@pytest.mark.timeout(110)
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_saga_ends_all_or_nothing_whatever_is_killed(tmp_path, kills):
    command = [sys.executable, str(PROCESS), str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "orders.sqlite") as orders:
        sagas = orders.execute("SELECT id, status FROM saga").fetchall()
    effects = defaultdict(set)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        for saga, step in ledger.execute("SELECT saga, step FROM ledger"):
            effects[saga].add(step)
    expected = {"completed": {"reserve", "pay", "confirm"}, "compensated": set()}
    assert {status for _, status in sagas} == set(expected)
    assert len(sagas) > kills
    for saga, status in sagas:
        assert effects.pop(saga, set()) == expected[status]
    assert not effects
