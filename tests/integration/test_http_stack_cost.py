"""What the whole HTTP stack adds to a request, in calls: exact, whatever the machine does."""

import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.http_stack import CALLS_BUDGET, added_calls


def test_the_stack_adds_no_more_calls_than_its_budget():
    assert 0 < uvloop.run(added_calls(0.0)) <= CALLS_BUDGET
