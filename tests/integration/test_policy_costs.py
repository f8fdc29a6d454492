"""The benchmark of the policies still runs; what it measures is `make bench`'s to say."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.policies.__main__ import ROWS
from benchmarks.policies.measure import measure


@pytest.mark.anyio
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
async def test_the_floor_and_prodkit_run_in_each_row(row):
    ours = [one for one in row.contestants if one.name.startswith(("floor", "prodkit"))]
    assert ours
    results = await measure(replace(row, contestants=ours), rounds=2, slice_ms=0.05)
    assert all(len(result.rounds) == 2 for result in results)
