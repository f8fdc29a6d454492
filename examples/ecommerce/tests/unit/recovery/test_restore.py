"""Restores of SQLite files: nothing is touched before all is whole, and nothing is thrown away."""

import asyncio
import json
import socket
from contextlib import closing
from pathlib import Path

import pytest
from prodkit.errors import ConfigurationError, UnavailableError
from shop_files import connect, ids, put

from ecommerce import platform
from ecommerce.engines import database
from ecommerce.peers import SERVICES
from ecommerce.recovery.backup import backup
from ecommerce.recovery.restore import restore
from ecommerce.recovery.sqlite_files import open_file
from ecommerce.recovery.sqlite_target import SqliteTarget
from ecommerce.recovery.unfinished import check_restored
from ecommerce.settings import Settings


@pytest.fixture
def taken(shop, tmp_path, progress):
    """A backup of the shop."""
    backup(shop, tmp_path / "b", progress)
    return tmp_path / "b"


def everything(settings):
    return {path.name: path.read_bytes() for path in settings.data_dir.iterdir()}


def remove(settings):
    for path in settings.data_dir.iterdir():
        path.unlink()


def test_what_was_backed_up_is_there_again(shop, taken, progress):
    remove(shop)
    _, kept = restore(shop, taken, progress)
    assert kept == []
    assert ids(shop, "orders") == ["orders-1", "orders-2"]
    assert {path.name for path in shop.data_dir.iterdir()} == {
        f"{name}.db" for name in ("broker", *SERVICES)
    }
    with closing(connect(shop, "broker")) as broker:
        assert broker.execute("SELECT id FROM message").fetchall() == [("1",)]


def test_without_force_nothing_that_is_there_is_replaced(shop, taken, progress):
    put(shop, "orders", "newer")
    before = everything(shop)
    with pytest.raises(ConfigurationError, match=r"orders\.db.*there already; --force"):
        restore(shop, taken, progress)
    assert everything(shop) == before


def test_with_force_what_was_there_is_kept_under_another_name(shop, taken, progress):
    put(shop, "orders", "newer")
    _, kept = restore(shop, taken, progress, force=True)
    assert "newer" not in ids(shop, "orders")
    (aside,) = [path for path in kept if "orders.db" in path]
    with closing(open_file(Path(aside))) as old:
        assert old.execute("SELECT count(*) FROM outbox").fetchone() == (3,)


@pytest.mark.parametrize("force", [False, True])
def test_a_running_shop_is_left_alone(shop, taken, progress, force):
    async def run():
        one = database(shop, "payments")
        await one.start()
        try:
            await asyncio.to_thread(attempt)
        finally:
            await one.stop()

    def attempt():
        with pytest.raises(ConfigurationError, match=r"payments\.db is in use: stop the shop"):
            restore(shop, taken, progress, force=force)

    asyncio.run(run())
    assert ids(shop, "orders") == ["orders-1", "orders-2"]


def test_a_shop_that_runs_on_files_that_were_deleted_is_known_by_its_port(shop, taken, progress):
    remove(shop)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        running = Settings(data_dir=shop.data_dir, port=port, admin_port=0)
        with pytest.raises(ConfigurationError, match=f"answers on port {port}: stop the shop"):
            restore(running, taken, progress)
        restore(running, taken, progress, force=True)


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "shorter":
        path.write_bytes(content[:-1])
    else:
        path.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])


@pytest.mark.parametrize(
    ("how", "said"),
    [("missing", "is missing"), ("shorter", "bytes of"), ("changed", "was changed")],
)
def test_a_backup_that_is_not_whole_is_refused_before_anything_is_touched(
    shop, taken, progress, how, said
):
    before = everything(shop)
    damage(taken / "users.db", how)
    damage(taken / "payments.db", how)
    with pytest.raises(ConfigurationError) as refused:
        restore(shop, taken, progress, force=True)
    assert str(refused.value).count(said) == 2
    assert everything(shop) == before


def test_what_is_no_backup_is_said(shop, taken, progress, tmp_path):
    def refused(match):
        with pytest.raises(ConfigurationError, match=match):
            restore(shop, taken, progress, force=True)

    path = taken / "manifest.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "format": 2}))
    refused("has format 2, and this version reads 1")
    path.write_text(json.dumps({**told, "parts": told["parts"][1:]}))
    refused(f"holds no {told['parts'][0]['name']}")
    told["parts"][0]["file"] = "../var/users.db"
    path.write_text(json.dumps(told))
    refused("is damaged")
    path.write_text(json.dumps(told)[:100])
    refused("is damaged")
    path.write_text("[]")
    refused("is damaged")
    path.unlink()
    refused("is no backup: it has no manifest")
    with pytest.raises(ConfigurationError, match="is no backup"):
        restore(shop, tmp_path / "none", progress)


def test_a_backup_of_files_is_not_restored_to_servers(shop, taken, progress):
    other = Settings(
        data_dir=shop.data_dir,
        database_url="postgresql://shop:s3cret@127.0.0.1:1/shop_{service}",
    )
    with pytest.raises(ConfigurationError, match="is of sqlite, and database_url asks for"):
        restore(other, taken, progress)


def test_a_log_that_was_left_behind_is_not_applied_to_the_new_file(shop, taken, progress):
    """The file is gone, its write-ahead log is not: SQLite would take it for the new one's."""
    with closing(connect(shop, "orders")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        put(shop, "orders", "in the log")
        log = (shop.data_dir / "orders.db-wal").read_bytes()
    remove(shop)
    (shop.data_dir / "orders.db-wal").write_bytes(log)
    restore(shop, taken, progress)
    assert not (shop.data_dir / "orders.db-wal").exists()
    assert ids(shop, "orders") == ["orders-1", "orders-2"]


def test_rows_that_are_not_those_of_the_backup_stop_it(shop, taken, progress):
    path = taken / "manifest.json"
    told = json.loads(path.read_text())
    orders = next(part for part in told["parts"] if part["name"] == "orders")
    orders["rows"]["outbox"] = 3
    path.write_text(json.dumps(told))
    before = everything(shop)
    with pytest.raises(UnavailableError, match="orders: outbox has 2 rows of 3"):
        restore(shop, taken, progress, force=True)
    assert everything(shop) == before


def test_no_service_starts_on_half_a_restore(shop, taken, progress, monkeypatch):
    """It dies between two files; a later one comes to its end."""
    true, switched = SqliteTarget.take_place, []

    def die(self):
        true(self)
        switched.append(self)
        if len(switched) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SqliteTarget, "take_place", die)
    with pytest.raises(KeyboardInterrupt):
        restore(shop, taken, progress, force=True)
    with pytest.raises(ConfigurationError, match="a restore did not come to its end"):
        platform.build(shop)
    monkeypatch.setattr(SqliteTarget, "take_place", true)
    restore(shop, taken, progress, force=True)
    check_restored(shop)
    assert ids(shop, "payments") == ["payments-1", "payments-2"]


def test_what_another_broker_may_have_lost_is_published_again(shop, taken, progress):
    """RabbitMQ's queues are not of the backup's instant; inboxes drop what they know."""
    other = Settings(
        data_dir=shop.data_dir, port=0, admin_port=0, broker_url="amqp://u:p@127.0.0.1:1/"
    )
    remove(shop)
    restore(other, taken, progress)
    with closing(connect(shop, "orders")) as orders:
        assert orders.execute("SELECT sent_at FROM outbox").fetchall() == [(None,), (None,)]
    assert not (shop.data_dir / "broker.db").exists()


def test_two_restores_in_one_second_keep_what_each_found(shop, taken, progress):
    put(shop, "orders", "newer")
    kept = [path for _ in range(2) for path in restore(shop, taken, progress, force=True)[1]]
    assert len(set(kept)) == 2 * len(("broker", *SERVICES))
    contents = set()
    for path in kept:
        if "orders.db" in path:
            with closing(open_file(Path(path))) as old:
                contents.add(old.execute("SELECT count(*) FROM outbox").fetchone())
    assert contents == {(3,), (2,)}


def test_a_restore_during_another_touches_nothing(shop, taken, progress, monkeypatch):
    load = SqliteTarget.load

    def load_while_another_comes(self, *rest):
        rows = load(self, *rest)
        with pytest.raises(ConfigurationError, match=r"another restore into .* is running"):
            restore(shop, taken, progress, force=True)
        return rows

    monkeypatch.setattr(SqliteTarget, "load", load_while_another_comes)
    restore(shop, taken, progress, force=True)
    assert ids(shop, "orders") == ["orders-1", "orders-2"]
