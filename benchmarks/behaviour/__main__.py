"""What libraries do when things go wrong, side by side: counts, and whether they are right.

    python -m benchmarks.behaviour [--page docs/benchmarks/behaviour.md]

Prints one table, and writes it with its stories to the page. Half a minute; nothing is random.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from benchmarks.behaviour import breakers, bulkheads, caches, fleets, limiters, loaders, retries
from benchmarks.behaviour.page import Played, markdown, terminal
from benchmarks.behaviour.scenario import Scenario

SCENARIOS: list[Scenario[Any]] = [
    *breakers.SCENARIOS,
    *fleets.SCENARIOS,
    *retries.SCENARIOS,
    *limiters.SCENARIOS,
    *caches.SCENARIOS,
    *loaders.SCENARIOS,
    *bulkheads.SCENARIOS,
]
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "behaviour.md"


def play(scenario: Scenario[Any], only: str = "") -> Played:
    """Play `scenario` to all its subjects, or to those whose names begin with `only`."""
    subjects = [subject for subject in scenario.subjects if subject.name.startswith(only)]
    return Played(scenario, [(subject.name, scenario.of(subject)) for subject in subjects])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # some warn of each of thousands of calls
    played = [play(scenario) for scenario in SCENARIOS]
    print(terminal(played))
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(markdown(played))
    print(f"\nwritten to {options.page}")


if __name__ == "__main__":
    main()
