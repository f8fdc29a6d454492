"""The benchmark of the checkout: what it reads from traces and logs, and that it still runs."""

import json
import sqlite3
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.orders import __main__ as command
from benchmarks.orders import replay
from benchmarks.orders.counting import Counted
from benchmarks.orders.page import counts, markdown
from benchmarks.orders.recording import between, read_postgres, read_sqlite, units

ID, OTHER, SHARED = "a" * 20, "b" * 20, "c" * 20


def traced(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return units(read_sqlite(path))


def order(at, id_, session=1):
    return [
        [at, "orders", session, "BEGIN IMMEDIATE"],
        [at + 0.1, "orders", session, f"INSERT INTO orders VALUES ('order-{id_}', '{SHARED}', 3)"],
        [at + 0.2, "orders", session, f"SELECT * FROM orders WHERE id = 'order-{id_}'"],
        [at + 0.3, "orders", session, "COMMIT"],
    ]


def test_transactions_are_told_apart_by_their_connections(tmp_path):
    mixed = sorted(order(1.0, ID) + order(1.05, OTHER, session=2) + [[1.5, "users", 3, "SELECT 1"]])
    found = traced(tmp_path / "trace", [0.5, "orders", 1, "PRAGMA x"], *mixed)
    assert [(unit.database, unit.writes, len(unit.body)) for unit in found] == [
        ("orders", True, 2),
        ("orders", True, 2),
        ("users", False, 1),
    ]
    assert found[0].shape == found[1].shape
    assert between(found, 1.2, 2.0) == found[2:]


def test_postgres_log_lines_carry_their_values(tmp_path):
    entry = {"timestamp": "2026-11-22 20:00:00.250 UTC", "dbname": "shop1_orders"}
    entry |= {"session_id": "s"}
    said = [
        ("statement: BEGIN;", ""),
        (
            "execute __asyncpg_stmt_1__: INSERT INTO t VALUES ($1, $2)",
            "parameters: $1 = 'it''s', $2 = NULL",
        ),
        ("statement: COMMIT;", ""),
    ]
    lines = [entry | {"message": message, "detail": detail} for message, detail in said]
    lines.append(entry | {"dbname": "postgres", "message": "statement: SELECT 1"})
    lines.append(entry | {"message": "duration: 3 ms"})
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (unit,) = units(read_postgres(tmp_path / "log", "shop1_"))
    assert (unit.database, unit.writes) == ("orders", True)
    assert unit.body[0].values == ("'it''s'", "NULL")


def test_a_recorded_checkout_can_be_told_again_and_again(tmp_path):
    database = sqlite3.connect(tmp_path / "orders.db")
    database.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, user TEXT, units INTEGER)")
    chains = [traced(tmp_path / name, *order(1.0, name * 20)) for name in "ab"]
    assert replay.on_sqlite(tmp_path, replay.Script(chains), 5) > 0
    rows = database.execute("SELECT count(*), count(DISTINCT user) FROM orders").fetchone()
    assert rows == (5, 1)  # ids of their own, and the user that all have in common


def test_figures_are_those_of_one_checkout(tmp_path):
    chains = [traced(tmp_path / name, *order(1.0, name * 20)) for name in "ab"]
    page = counts(Counted(chains, {}, {"orders": 1.5}))
    assert "| orders | 0.0 | 1.0 | 2.0 | 4.0 |" in page
    assert "Syncs to disk: 1.5" in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_quick_form_runs():
    options = command.options_of(["--quick", "--only", "embedded"])
    found = command.run(options)
    page = markdown(found, options, "here", "some servers")
    assert "| OrderService/Checkout | 1.0 |" in page
    assert found[0].floor > 0
