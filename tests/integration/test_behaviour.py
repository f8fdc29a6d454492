"""The scenarios that peers are put through as well (`make bench`); here prodkit alone."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.behaviour.__main__ import SCENARIOS, play

#: What a rate with a burst admits in the worst second is what it promises: both of them.
BY_DESIGN = {"prodkit (Rate)": "199"}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.title)
def test_what_goes_wrong_goes_wrong_as_promised(scenario):
    rows = play(scenario, only="prodkit").rows
    assert rows
    for name, found in rows:
        assert found.ok or found.count == BY_DESIGN.get(name), f"{name}: {found}"
