"""Migrations: one replica runs them while the others wait, and a service says if they are due."""

import asyncio

import asyncpg
import pytest
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.data.database import Database
from prodkit.data.migrations import check_migrated, migrate
from prodkit.errors import ConfigurationError, UnavailableError

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("postgres")]

FIRST = """
import sqlalchemy as sa
from alembic import op
from prodkit.messaging import tables

revision, down_revision = "0001", None

def upgrade():
    tables.upgrade(op.get_bind(), 1)
    op.create_table("orders", sa.Column("id", sa.Integer, primary_key=True))
    op.execute("SELECT pg_sleep(0.3)")
"""
SECOND = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

def upgrade():
    op.add_column("orders", sa.Column("note", sa.Text))
"""
BROKEN = SECOND.replace("0002", "0003").replace("0001", "0002").replace('"orders"', '"nothing"')


@pytest.fixture
def versions(tmp_path):
    folder = tmp_path / "versions"
    folder.mkdir()
    (folder / "0001_first.py").write_text(FIRST)
    (folder / "0002_second.py").write_text(SECOND)
    return folder


async def columns(url):
    connection = await asyncpg.connect(url)
    try:
        return {
            (row["table_name"], row["column_name"])
            for row in await connection.fetch(
                "SELECT * FROM information_schema.columns WHERE table_schema = current_schema()"
            )
        }
    finally:
        await connection.close()


async def forget_revisions(url):
    connection = await asyncpg.connect(url)
    await connection.execute("DROP TABLE alembic_version")
    connection.terminate()


async def make_weak(url):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE weak LOGIN")
    connection.terminate()


async def test_of_several_replicas_one_migrates_and_all_go_on(postgres_url, versions):
    replicas = [Database(postgres_url, name="orders") for _ in range(4)]
    ran = await asyncio.gather(*(migrate(each, versions) for each in replicas))
    assert sorted(ran) == [[], [], [], ["0001", "0002"]]
    there = await columns(postgres_url)
    assert {("orders", "note"), ("outbox", "seq"), ("saga", "id"), ("lock", "token")} <= there
    for each in replicas:
        await check_migrated(each, versions)
        await each.stop()


async def test_a_revision_that_fails_leaves_those_before_it(postgres_url, versions):
    (versions / "0003_broken.py").write_text(BROKEN)
    database = Database(postgres_url, name="orders")
    with pytest.raises(
        ConfigurationError,
        match=r'cannot be migrated to 0003: .*"nothing" does not exist.*; it stays at 0002',
    ):
        await migrate(database, versions)
    with pytest.raises(ConfigurationError, match="is migrated to 0002, not to 0003: run"):
        await check_migrated(database, versions)
    (versions / "0003_broken.py").unlink()
    await check_migrated(database, versions)
    assert await migrate(database, versions) == []
    await database.stop()


async def test_a_database_that_is_ahead_passes(postgres_url, versions):
    database = Database(postgres_url, name="orders")
    with pytest.raises(ConfigurationError, match="migrated to nothing"):
        await check_migrated(database, versions)
    await migrate(database, versions)
    (versions / "0002_second.py").unlink()
    await check_migrated(database, versions)
    await database.stop()


async def test_waiting_for_the_others_is_bounded(postgres_url, versions):
    database = Database(postgres_url, name="orders")
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_advisory_lock(7310025018)")
    with pytest.raises(UnavailableError, match="being migrated by another process"):
        await migrate(database, versions, wait=0.3)
    waiting = asyncio.create_task(migrate(database, versions))
    await asyncio.sleep(0.3)
    other.terminate()  # whoever dies holds nobody up
    assert await waiting == ["0001", "0002"]
    await database.stop()


async def test_what_cannot_be_migrated_says_why(postgres_url, tmp_path, versions):
    database = Database(postgres_url)
    with pytest.raises(ConfigurationError, match="no Alembic revisions in"):
        await migrate(database, tmp_path / "none")
    (versions / "0002b.py").write_text(SECOND.replace('"0002"', '"0002b"'))
    with pytest.raises(ConfigurationError, match="with one head, not 0002, 0002b"):
        await migrate(database, versions)
    (versions / "0002b.py").unlink()
    file = Database(tmp_path / "file.sqlite")
    with pytest.raises(ConfigurationError, match=r"is SQLite: Database\.create_all"):
        await migrate(file, versions)
    for each in (database, file):
        await each.stop()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def upgrade(:", r": SyntaxError: invalid syntax \(0003_bad\.py, line 1\)$"),
        ("import nosuch", r": No module named 'nosuch' \(0003_bad\.py, line 1\)$"),
        (SECOND.replace("0001", "gone").replace("0002", "0003"), "Revision gone .* is not present"),
        (SECOND, "Revision 0002 is present more than once"),
        (SECOND.replace("0001", "0003").replace("0002", "0003"), "is detected"),
    ],
)
async def test_files_that_are_no_revisions_are_named(tmp_path, versions, text, told):
    (versions / "0003_bad.py").write_text(text)
    database = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match=told):
        await migrate(database, versions)
    with pytest.raises(ConfigurationError, match=told):
        await check_migrated(database, versions)
    await database.stop()


async def test_a_mistake_in_a_revision_is_told_with_its_place(postgres_url, versions):
    (versions / "0003_bad.py").write_text(
        'revision, down_revision = "0003", "0002"\ndef upgrade():\n    1 / 0\n'
    )
    database = Database(postgres_url, name="orders")
    with pytest.raises(
        ConfigurationError,
        match=r"to 0003: ZeroDivisionError: division by zero \(0003_bad\.py, line 3\); it stays at",
    ):
        await migrate(database, versions)
    await database.stop()


async def test_a_database_of_other_revisions_is_left_alone(postgres_url, tmp_path, versions):
    database = Database(postgres_url, name="orders")
    await migrate(database, versions)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.py").write_text('revision, down_revision = "a", None\ndef upgrade(): pass\n')
    with pytest.raises(ConfigurationError, match=r"is migrated to 0002, which .*other does not"):
        await migrate(database, other)
    await check_migrated(database, versions)
    await database.stop()


class TestCommand:
    def run(self, *words, **environment):
        return CliRunner().invoke(app, ["migrate", *map(str, words)], env=environment)

    def test_it_migrates_and_says_what_it_ran(self, postgres_url, versions):
        first = self.run(versions, DATABASE_URL=postgres_url)
        assert (first.exit_code, first.output.split()) == (0, ["0001", "0002"])
        again = self.run(versions, DATABASE_URL=postgres_url)
        assert (again.exit_code, again.output) == (0, "")

    def test_it_says_what_is_wrong_without_the_password(self, versions):
        away = self.run(versions, DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/shop")
        assert away.exit_code == 1
        assert "(postgresql://u@127.0.0.1:1/shop) cannot be reached" in away.output
        wrong = self.run(versions, DATABASE_URL="mysql://u:s3cret@host/shop")
        assert wrong.exit_code == 2
        assert "a database is a path or" in wrong.output
        assert "s3cret" not in away.output + wrong.output
        assert self.run(versions, DATABASE_URL=None).exit_code == 2

    @pytest.mark.parametrize("wrong", ["postgresql://nobody:s3cret@", "/nosuch"])
    def test_what_waiting_does_not_help_is_2(self, postgres, versions, wrong):
        place = postgres.dsn.partition("@")[2]
        url = f"{wrong}{place}" if "@" in wrong else postgres.dsn.removesuffix("/postgres") + wrong
        found = self.run(versions, DATABASE_URL=url)
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert "check the URL" in found.output
        assert "s3cret" not in found.output

    def test_tables_that_are_there_already_are_one_line(self, postgres_url, versions):
        self.run(versions, DATABASE_URL=postgres_url)
        asyncio.run(forget_revisions(postgres_url))
        found = self.run(versions, DATABASE_URL=postgres_url)
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert "cannot be migrated to 0001: " in found.output
        assert 'relation "orders" already exists' in found.output

    def test_a_user_without_rights_is_told_so(self, postgres, versions):
        asyncio.run(make_weak(postgres.dsn))
        place = postgres.dsn.partition("@")[2]
        found = self.run(versions, DATABASE_URL=f"postgresql://weak@{place}")
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert "permission denied for schema public" in found.output
        self.run(versions, DATABASE_URL=postgres.dsn)
        found = self.run(versions, DATABASE_URL=f"postgresql://weak@{place}")
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert "permission denied for table alembic_version" in found.output

    def test_no_such_folder_names_no_command_of_others(self, tmp_path):
        found = self.run(tmp_path / "none", DATABASE_URL="postgresql://u@127.0.0.1:1/shop")
        assert (found.exit_code, found.output.count("\n")) == (2, 1)
        assert "there is no such folder" in found.output
