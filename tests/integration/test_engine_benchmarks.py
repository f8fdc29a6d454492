"""The benchmark of the engines still runs; what it measures is `make bench`'s to say."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.engines import amqp, limiters, outbox
from benchmarks.engines.measure import measure
from benchmarks.engines.page import Ran, markdown
from benchmarks.engines.plot import svg

pytestmark = pytest.mark.anyio


async def run(table):
    """Run every contestant that is installed for two rounds; return the page and the plot."""
    rans = []
    async with table.opened() as rows:
        for row in rows:
            results = await measure(replace(row, things=min(row.things, 50)), 2, 0.02)
            ours = [each for each in results if each.name.startswith("prodkit")]
            assert ours
            assert all(len(each.rounds) == 2 and min(each.rounds) > 0 for each in ours)
            rans.append(Ran(row, results))
    return markdown(rans, 2, "a loop", "some servers"), svg(rans)


@pytest.mark.parametrize(
    "table", [pytest.param(limiters, marks=pytest.mark.slow), outbox], ids=["limiters", "outbox"]
)
async def test_each_row_runs_and_has_its_lines(table, monkeypatch):
    monkeypatch.setattr("benchmarks.engines.page.versions", lambda _: "some libraries")
    page, plot = await run(table)
    assert "\n| prodkit |" in page
    assert 'class="prodkit"' in plot


@pytest.mark.slow
async def test_rabbitmq_too(monkeypatch):
    monkeypatch.setattr("benchmarks.engines.page.versions", lambda _: "some libraries")
    page, _ = await run(amqp)
    assert page.count("\n| prodkit |") == 2
