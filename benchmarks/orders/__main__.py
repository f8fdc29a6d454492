"""What a checkout takes, and how many a second are completed: the shop beside its own statements.

    python -m benchmarks.orders [--quick] [--checkouts 80] [--rounds 3] [--buyers 8]

Starts shops and private servers of its own, and stops them. Prints the tables, and writes
orders.md. Three minutes; `--quick` only shows that it runs, and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

import uvloop
from benchmarks.orders import counting, replay
from benchmarks.orders.counting import Counted
from benchmarks.orders.load import Crowd
from benchmarks.orders.page import Found, Measured, markdown
from benchmarks.orders.recording import read_postgres, read_sqlite, units
from benchmarks.orders.shops import (
    EACH,
    Engines,
    WatchedEngines,
    WatchedShop,
    cpu_seconds,
    opened,
    pids_of,
    quiet,
)
from benchmarks.peers import server_versions, surroundings
from harness import Shop
from servers import EnginesShop, Fleet, Servers, execute

PAGES = Path(__file__).parents[2] / "docs" / "benchmarks"


def measured(shop: Shop, servers: Servers | None, options: argparse.Namespace) -> Measured:
    """Return rates of the shop under load, and whose processor time a checkout takes."""
    crowd = Crowd(shop, options.buyers, stock=options.checkouts * (options.rounds + 1) + 10)
    asyncio.run(crowd.rate(max(8, options.checkouts // 4)))  # warm up
    pids = pids_of(shop, servers)
    before = cpu_seconds(pids)
    rates = [asyncio.run(crowd.rate(options.checkouts)) for _ in range(options.rounds)]
    done = options.checkouts * options.rounds
    used = {name: (now - before[name]) / done for name, now in cpu_seconds(pids).items()}
    return Measured(
        median(each.answered for each in rates),
        median(each.settled for each in rates),
        max(each.slowest for each in rates),
        sum(each.refused for each in rates),
        used,
    )


def embedded(folder: Path, options: argparse.Namespace) -> Found:
    with opened(Shop(folder / "embedded", **quiet())) as shop:
        load = measured(shop, None, options)
    with opened(WatchedShop(folder / "watched", **quiet())) as shop:
        crowd = Crowd(shop, 1, stock=100_000)
        watch, synced = shop.folder / "watch", dict[str, float]()
        counted = counting.checkouts(
            crowd, options.counted, 3.0, lambda: units(read_sqlite(watch / "statements.jsonl"))
        )
        with counting.syncs(pids_of(shop, None), synced):
            counting.some(crowd, options.counted)
        counted.syncs = {name: value / options.counted for name, value in synced.items()}
        layers = sampled(watch / "samples.jsonl", crowd, options)
    script = replay.Script(counted.chains)
    floors = [
        replay.on_sqlite(shop.folder / "var", script, options.checkouts)
        for _ in range(options.rounds)
    ]
    return Found("Embedded: SQLite, one process", load, counted, layers, median(floors), 1)


def engines(folder: Path, servers: Engines, options: argparse.Namespace) -> Found:
    with opened(EnginesShop(folder / "one", **servers.settings(), **quiet())) as shop:
        load = measured(shop, servers, options)
    settings = servers.settings()
    with opened(WatchedEngines(folder / "watched", **settings, **quiet())) as shop:
        layers = sampled(shop.folder / "watch" / "samples.jsonl", Crowd(shop, 1, 1000), options)
    with opened(EnginesShop(folder / "logged", **settings, **quiet())) as shop:
        counted = logged(Crowd(shop, 1, stock=100_000), servers, options)
    url = str(settings["database_url"])
    script = replay.Script(counted.chains)
    floors = [
        uvloop.run(replay.on_postgres(url, script, options.checkouts, options.buyers))
        for _ in range(options.rounds)
    ]
    title = "Engines: PostgreSQL, RabbitMQ and Redis, one process"
    return Found(title, load, counted, layers, median(floors), options.buyers)


def logged(crowd: Crowd, servers: Engines, options: argparse.Namespace) -> Counted:
    """Count by PostgreSQL's own log; its syncs by its statistics."""
    dsn = servers.postgres.dsn
    execute(dsn, "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
    synced = "SELECT wal_sync FROM pg_stat_wal"
    counted = counting.checkouts(
        crowd,
        options.counted,
        3.0,
        lambda: units(read_postgres(servers.log_path, servers.prefix)),
    )
    before = execute(dsn, synced)[0][0]
    counting.some(crowd, options.counted)
    time.sleep(1.5)  # statistics come late
    total = execute(dsn, synced)[0][0] - before
    counted.syncs = {"PostgreSQL's write-ahead log": total / options.counted}
    execute(dsn, "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")
    return counted


def fleet(folder: Path, servers: Engines, options: argparse.Namespace) -> Found:
    shop = Fleet(folder / "fleet", groups=EACH, **servers.settings(), **quiet())
    with opened(shop):
        load = measured(shop, servers, options)
    return Found("Engines, a process for each service", load, None, {}, None, 0)


def sampled(path: Path, crowd: Crowd, options: argparse.Namespace) -> dict[str, float]:
    """Return the shares of the processor time that each layer has under load."""
    crowd.buyers *= options.buyers
    begun = len(path.read_text().splitlines())
    asyncio.run(crowd.rate(options.checkouts))
    seen: Counter[str] = Counter()
    for line in path.read_text().splitlines()[begun + 1 :]:
        seen.update(json.loads(line)[1])
    total = sum(seen.values()) or 1
    return {name: times / total for name, times in seen.most_common()}


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkouts", type=int, default=80, help="in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--buyers", type=int, default=8, help="at once")
    parser.add_argument("--counted", type=int, default=8, help="checkouts that are taken apart")
    parser.add_argument("--only", choices=("embedded", "engines", "fleet"), help="no page")
    parser.add_argument("--quick", action="store_true", help="a few checkouts; no page")
    parser.add_argument("--pages", type=Path, default=PAGES)
    options = parser.parse_args(arguments)
    if options.quick:
        options.checkouts, options.rounds, options.buyers, options.counted = 8, 1, 4, 2
    return options


def run(options: argparse.Namespace) -> list[Found]:
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "embedded"):
            found.append(embedded(folder, options))
            print(found[-1].terminal(), flush=True)
        if options.only != "embedded":
            servers = Engines()
            try:
                servers.start()
                for kind in (engines, fleet):
                    if options.only in (None, kind.__name__):
                        found.append(kind(folder, servers, options))
                        print(found[-1].terminal(), flush=True)
            finally:
                servers.close()
    return found


def main() -> None:
    options = options_of()
    logging.disable(logging.INFO)
    found = run(options)
    if not (options.quick or options.only):
        options.pages.mkdir(parents=True, exist_ok=True)
        page = markdown(found, options, surroundings(), server_versions())
        (options.pages / "orders.md").write_text(page)
        print(f"\nwritten to {options.pages}")


if __name__ == "__main__":
    main()
