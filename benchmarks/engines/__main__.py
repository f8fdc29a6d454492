"""What shared engines cost: prodkit beside the bare client and its peers, in one run.

    python -m benchmarks.engines [--quick] [--rounds 11] [--seconds 0.4] [--only WORD]

Starts private servers of its own, and stops them. Prints how many things a second each contestant
does and how many times its floor that is, and writes engines.md and engines.svg. Three minutes;
`--quick` only shows that it runs, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

import uvloop
from benchmarks.engines import amqp, limiters, outbox
from benchmarks.engines.measure import measure
from benchmarks.engines.page import Ran, markdown, terminal
from benchmarks.engines.plot import svg
from benchmarks.peers import server_versions, surroundings

TABLES = {"redis": limiters, "postgresql": outbox, "rabbitmq": amqp}
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PAGES = Path(__file__).parents[2] / "docs" / "benchmarks"


async def run(options: argparse.Namespace) -> list[Ran]:
    rans = []
    for engine, rows in TABLES.items():
        if options.engine in ("", engine):
            async with rows.opened() as listed:
                for row in listed:
                    ran = Ran(row, await measure(row, options.rounds, options.seconds))
                    print(terminal(ran), flush=True)
                    rans.append(ran)
    return rans


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--engine", choices=TABLES, default="", help="this one alone; no pages")
    parser.add_argument("--loop", choices=LOOPS, default="uvloop")
    parser.add_argument("--quick", action="store_true", help="two short rounds; no pages")
    parser.add_argument("--pages", type=Path, default=PAGES)
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.05
    return options


def main() -> None:
    options = options_of()
    logging.disable(logging.CRITICAL)
    print(f"{surroundings()}, {options.loop}")
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        rans = runner.run(run(options))
    if options.quick or options.engine:
        return
    options.pages.mkdir(parents=True, exist_ok=True)
    page = markdown(rans, options.rounds, options.loop, server_versions())
    (options.pages / "engines.md").write_text(page)
    (options.pages / "engines.svg").write_text(svg(rans))
    print(f"\nwritten to {options.pages}")


if __name__ == "__main__":
    main()
