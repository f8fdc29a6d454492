"""What `prodkit new` writes is ready for production as far as the check can tell."""

from __future__ import annotations

from itertools import combinations

import pytest

from prodkit.scaffold import tree
from prodkit.scaffold.answers import CHOICES, Answers
from prodkit.scaffold.readiness import check
from prodkit.scaffold.render import render

SPEAKS = [each for n in (1, 2, 3) for each in combinations(CHOICES["speaks"], n)]


@pytest.mark.parametrize("state", CHOICES["state"])
@pytest.mark.parametrize("speaks", SPEAKS, ids="+".join)
def test_a_generated_project_is_ready(tmp_path, speaks, state):
    """The more a project uses, the more there is to find: all else is on."""
    broker = "rabbitmq" if "events" in speaks else "memory"
    answers = Answers(
        name="my-shop", speaks=speaks, state=state, limiter="redis", broker=broker, deploy=True
    )
    folder = tmp_path / "my-shop"
    tree.write(render(answers), folder)
    report = check(folder)
    assert report.files > 10
    assert (report.findings, report.unread) == ((), ())


def test_a_project_of_defaults_is_ready(tmp_path):
    tree.write(render(Answers(name="my-shop", services=("one", "two"))), tmp_path / "my-shop")
    assert check(tmp_path / "my-shop").findings == ()
