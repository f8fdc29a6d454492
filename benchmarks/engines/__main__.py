"""What shared engines cost: prodkit beside the bare client and its peers, in one run.

    python -m benchmarks.engines [--rounds 9] [--seconds 0.4] [--only WORD] [--loop asyncio]

Starts private servers of its own. Prints how many things a second each contestant does, and how
many times the floor that is: the bare client, doing the one thing that it must.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
from collections.abc import Sequence

import uvloop
from benchmarks.engines import limiters
from benchmarks.engines.measure import Result, Row, measure
from benchmarks.peers import surroundings

TABLES = [limiters]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def table(row: Row, results: Sequence[Result]) -> str:
    lines = [f"\n{row.title}, {row.callers} at a time"]
    for result in results:
        if not result.rounds:
            lines.append(f"  {result.name:44}  not installed")
            continue
        times = result.over(results[0])
        met = ""
        if row.budget is not None and result.name == "prodkit":
            met = f"  budget {row.budget:g}: {'met' if times >= row.budget else 'MISSED'}"
        low, _, high = statistics.quantiles(result.rounds, n=4)
        spread = f"{low:>8,.0f} -{high:>8,.0f}"
        lines.append(f"  {result.name:44}{result.median:>10,.0f}/s {spread}{times:>8.2f}{met}")
    return "\n".join(lines)


async def run(options: argparse.Namespace) -> None:
    for rows in TABLES:
        async with rows.opened() as listed:
            for row in listed:
                if options.only in f"{row.title} {row.callers}":
                    results = await measure(row, options.rounds, options.seconds)
                    print(table(row, results), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--only", default="")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    options = parser.parse_args()
    print(f"{surroundings()}, {options.loop}")
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        runner.run(run(options))


if __name__ == "__main__":
    main()
