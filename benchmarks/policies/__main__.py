"""What policies cost: prodkit beside floors written by hand and beside its peers, in one run.

    python -m benchmarks.policies [--rounds 25] [--slice 5] [--only WORD] [--pages docs/benchmarks]

Prints the table, and writes policies.md and policies.svg. Three minutes, most of them memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

import uvloop
from benchmarks.policies import breakers, caches, limiters, memory, others, retries
from benchmarks.policies.measure import Row, measure
from benchmarks.policies.memory import Weight, weigh
from benchmarks.policies.page import Ran, markdown, terminal
from benchmarks.policies.plot import svg

ROWS: list[Row] = [
    *breakers.ROWS,
    *retries.ROWS,
    *limiters.ROWS,
    *caches.ROWS,
    *others.ROWS,
]
PAGES = Path(__file__).parents[2] / "docs" / "benchmarks"
KEYS, BREAKERS = 1_000_000, 10_000
HEAVY = [
    ("A million limiter keys", "limiters", KEYS),
    ("Ten thousand breakers", "breakers", BREAKERS),
]


async def run(rows: list[Row], loop: str, options: argparse.Namespace) -> list[Ran]:
    rans = []
    for row in rows:
        if loop in row.loops:
            ran = Ran(row, loop, await measure(row, options.rounds, options.slice))
            print(terminal(ran), flush=True)
            rans.append(ran)
    return rans


def weigh_all() -> list[tuple[str, int, list[Weight]]]:
    weighed = []
    for title, table, count in HEAVY:
        weights = [weigh(table, name, count) for name in memory.TABLES[table]]
        weighed.append((title, count, weights))
        print(f"\n{title}")
        for one in weights:
            print(f"  {one.name:42}" + (one.why or f"{one.bytes_each:>14,.0f} bytes each"))
    return weighed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--slice", type=float, default=5.0, help="milliseconds")
    parser.add_argument("--only", default="", help="rows with this in their titles; no pages")
    parser.add_argument("--pages", type=Path, default=PAGES)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # some warn of each call
    rows = [row for row in ROWS if options.only in row.title]
    rans = uvloop.run(run(rows, "uvloop", options))
    rans += asyncio.run(run(rows, "asyncio", options))
    if options.only:
        return
    weighed = weigh_all()
    options.pages.mkdir(parents=True, exist_ok=True)
    loop = f"uvloop {uvloop.__version__}"
    page = markdown(rans, options.rounds, loop, weighed)
    (options.pages / "policies.md").write_text(page)
    on_uvloop = [ran for ran in rans if ran.loop == "uvloop"]
    (options.pages / "policies.svg").write_text(svg(on_uvloop))
    print(f"\nwritten to {options.pages}")


if __name__ == "__main__":
    main()
