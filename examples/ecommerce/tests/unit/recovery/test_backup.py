"""Backups of SQLite files: of one instant, whole or not there, for their owner alone."""

import json
import os
import stat
import threading
from contextlib import closing

import pytest
from prodkit.errors import ConfigurationError, UnavailableError
from shop_files import connect, put

from ecommerce.recovery import sqlite_files
from ecommerce.recovery.backup import backup
from ecommerce.recovery.instant import BusyError, instant
from ecommerce.recovery.sqlite_files import SqliteSource


def test_a_backup_holds_every_database_and_says_what_is_in_it(shop, tmp_path, progress):
    whole = backup(shop, tmp_path / "b", progress)
    told = json.loads((tmp_path / "b" / "manifest.json").read_text())
    assert told["format"] == 1
    assert told["taken_at"] == whole.taken_at
    assert {part.name for part in whole.parts} >= {
        "broker",
        "users",
        "catalog",
        "orders",
        "payments",
        "notifications",
    }
    assert whole.part("orders").rows["outbox"] == 2
    assert whole.part("broker").rows["message"] == 1
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == sorted(
        ["manifest.json", *(part.file for part in whole.parts)]
    )


def test_nobody_but_its_owner_can_read_it(shop, tmp_path, progress):
    old = os.umask(0)
    try:
        backup(shop, tmp_path / "b", progress)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "b").iterdir()} == {0o600}


def test_all_databases_are_of_one_instant(shop, tmp_path, progress):
    """A writer writes to orders and then to payments, as services do that tell each other."""
    stop, written = threading.Event(), []

    def write():
        with closing(connect(shop, "orders")) as one, closing(connect(shop, "payments")) as other:
            number = 0
            while not stop.is_set():
                number += 1
                for database in (one, other):
                    with database:
                        database.execute("INSERT INTO inbox VALUES ('c', 's', ?, 0)", (number,))
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for turn in range(5):
            before = len(written)
            whole = backup(shop, tmp_path / f"b{turn}", progress)
            orders, payments = (whole.part(n).rows["inbox"] for n in ("orders", "payments"))
            assert orders - payments in (0, 1), "what was written second is there without the first"
            assert payments >= before, "what was acknowledged before the backup is not in it"
    finally:
        stop.set()
        writer.join()
    assert len(written) > before > 0  # it wrote all the time


def test_writers_that_come_during_the_copy_are_neither_kept_nor_seen(shop, tmp_path):
    source = SqliteSource("orders", shop.data_dir / "orders.db")
    with instant([source]) as now:
        put(shop, "orders", "late")
        assert now.views["orders"].rows["outbox"] == 2
        now.views["orders"].save(tmp_path / "copy.db", lambda *_: None)
    with closing(sqlite_files.open_file(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM outbox").fetchone() == (2,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not (tmp_path / "copy.db-wal").exists()


def test_a_writer_that_does_not_end_is_told_of_and_keeps_nobody_else(shop, monkeypatch):
    monkeypatch.setattr(sqlite_files, "_LOCK", 0.05)
    sources = [SqliteSource(name, shop.data_dir / f"{name}.db") for name in ("orders", "users")]
    with closing(connect(shop, "users")) as endless:
        endless.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match=r"users\.db"), instant(sources, patience=0.2):
            pass
        put(shop, "orders", "not kept")


def test_what_fails_on_the_way_leaves_no_backup(shop, tmp_path, progress, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite_files.SqliteView, "save", full)
    with pytest.raises(OSError, match="No space"):
        backup(shop, tmp_path / "b", progress)
    assert [path.name for path in tmp_path.iterdir()] == ["var"]
    put(shop, "orders", "nobody is kept")


def test_a_backup_is_never_written_over_another(shop, tmp_path, progress):
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigurationError, match="there already"):
        backup(shop, tmp_path / "b", progress)
    assert not list((tmp_path / "b").iterdir())


@pytest.mark.parametrize("into", ["b", "b/"])
def test_of_two_backups_into_one_folder_one_is_refused(shop, tmp_path, progress, monkeypatch, into):
    def meanwhile(view, path, tell):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / "manifest.json").touch()
        path.write_bytes(b"")

    monkeypatch.setattr(sqlite_files.SqliteView, "save", meanwhile)
    with pytest.raises(ConfigurationError, match="there already"):
        backup(shop, tmp_path / into, progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "var"]


def test_what_a_killed_backup_left_is_told(shop, tmp_path, progress):
    left = tmp_path / ".a.unfinished-0123abcd"
    left.mkdir()
    backup(shop, tmp_path / "b", progress)
    (line,) = [each for each in progress.said if str(left) in each]
    assert line.startswith("unfinished, and holds personal data: ")
    assert left.is_dir()  # another may be writing it now


def test_a_shop_that_is_not_there_is_no_empty_backup(settings, tmp_path, progress):
    with pytest.raises(ConfigurationError, match=r"there is no .*broker\.db"):
        backup(settings, tmp_path / "b", progress)
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "var").exists()


def test_a_damaged_database_is_no_backup(shop, tmp_path, progress):
    (shop.data_dir / "users.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(UnavailableError, match=r"users\.db is no SQLite database"):
        backup(shop, tmp_path / "b", progress)
    assert not (tmp_path / "b").exists()
