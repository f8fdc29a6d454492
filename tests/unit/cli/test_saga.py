import asyncio
import json
import sqlite3

import pytest
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.data.database import Database
from prodkit.data.saga import Saga, SagaRunner, SagaStatus, Step
from prodkit.data.saga.store import metadata
from prodkit.errors import FailedPreconditionError, UnavailableError

undone = []


async def reserve(run):
    return {"reservation": f"r-{run.saga_id}", "api_token": "hush-hush"}


async def pay(run):
    error = {"late": UnavailableError("the bank\nis away", retry_after=3600)}
    error["needy"] = FailedPreconditionError("declined \x1b[31m")
    if run.saga_id in error and not undone:
        raise error[run.saga_id]


async def unreserve(run):
    if run.saga_id == "needy" and not undone:
        raise FailedPreconditionError("shipped already")
    undone.append(run.saga_id)


SAGA = Saga("checkout", Step("reserve", reserve, unreserve), Step("pay", pay))
OTHER = Saga("refund", Step("refund", unreserve))


async def fill(path):
    database = Database(path)
    await database.start()
    await database.create_all(metadata)
    runner = SagaRunner(database, [SAGA, OTHER])
    undone.clear()
    for id_ in ("late", "needy", "done"):
        async with database.transaction() as tx:
            await runner.begin(tx, SAGA, id_, {"lines": [1, 2]})
        await runner.drive(id_, within=0.0)
        await runner.stop(5.0)
        runner._stopped = False
    async with database.transaction() as tx:
        await runner.begin(tx, OTHER, "fresh", {})
    await database.stop()


async def run_to_rest(path, id_):
    database = Database(path)
    await database.start()
    runner = SagaRunner(database, [SAGA, OTHER])
    record = await runner.drive(id_, within=5.0)
    await database.stop()
    return record


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "orders.db"
    asyncio.run(fill(path))
    return path


@pytest.fixture
def saga(path):
    def run(*words, database=path, code=0):
        done = CliRunner().invoke(app, ["saga", *words], env={"DATABASE_URL": str(database)})
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output.splitlines()

    return run


def ids(lines):
    return [line.split("\t")[0] for line in lines]


def test_sagas_are_listed_one_to_a_line(saga):
    lines = [line.split("\t") for line in saga("list")]
    assert [line[:5] for line in lines] == [
        ["late", "checkout", "running", "pay", "1"],
        ["needy", "checkout", "needs_attention", "reserve", "0"],
        ["done", "checkout", "completed", "pay", "0"],
        ["fresh", "refund", "running", "refund", "0"],
    ]
    assert lines[0][7] == r"UnavailableError: the bank\nis away"
    assert lines[1][7] == "FailedPreconditionError: shipped already"
    assert lines[2][7] == "-"


def test_the_list_is_filtered(saga, path):
    assert ids(saga("list", "-s", "running")) == ["late", "fresh"]
    assert ids(saga("list", "-s", "running", "-s", "completed")) == ["late", "done", "fresh"]
    assert ids(saga("list", "--name", "refund")) == ["fresh"]
    assert ids(saga("list", "-n", "2")) == ["late", "needy"]
    assert ids(saga("list", "-n", "2", "--after", "needy")) == ["done", "fresh"]
    assert saga("list", "--older-than", "1h") == []
    with sqlite3.connect(path) as database:
        database.execute("UPDATE saga SET created_at = created_at - 7200 WHERE id = 'done'")
    assert ids(saga("list", "--older-than", "2h")) == ["done"]
    assert ids(saga("list", database=f"sqlite:///{path}"))[0] == "done"


def test_a_saga_is_shown_whole_and_its_secrets_are_not(saga):
    lines = saga("show", "needy")
    assert 'steps: ["reserve", "pay"]' in lines
    assert (
        r"reason: pay: FailedPreconditionError: declined \x1b[31m; could not compensate reserve:"
        " FailedPreconditionError: shipped already"
    ) in lines
    (state,) = [line for line in lines if line.startswith("state: ")]
    assert json.loads(state.removeprefix("state: ")) == {
        "lines": [1, 2],
        "reservation": "r-needy",
        "api_token": "[redacted]",
    }
    assert "hush" not in "".join([*lines, *saga("show", "needy", "--json")])


def test_json_is_one_object_a_line(saga):
    found = [json.loads(line) for line in saga("list", "--json")]
    assert [each["id"] for each in found] == ["late", "needy", "done", "fresh"]
    late = found[0]
    assert 3500 < late["next_attempt_in"] <= 3600
    assert (late["step"], late["attempts"], late["run_by"]) == ("pay", 1, "")
    assert json.loads(*saga("show", "late", "--json"))["error"] == late["error"]


def test_what_waits_or_needs_attention_is_retried(saga, path):
    undone.append("the trouble")
    for id_, status in (("late", SagaStatus.COMPLETED), ("needy", SagaStatus.COMPENSATED)):
        assert saga("retry", id_) == [f"retried {id_}"]
        assert asyncio.run(run_to_rest(path, id_)).status is status


def test_what_is_abandoned_rests_until_it_is_retried(saga, path):
    assert saga("abandon", "late", "-r", "paid in cash") == ["abandoned late"]
    record = asyncio.run(run_to_rest(path, "late"))
    assert (record.status, record.progress.reason) == (SagaStatus.ABANDONED, "paid in cash")
    assert ids(saga("list", "-s", "abandoned")) == ["late"]
    undone.append("the trouble")
    for words in (("retry", "late"), ("abandon", "late", "-r", "mine")):
        (line,) = saga(*words, code=1)
        assert line.startswith("saga late was abandoned: paid in cash")
    saga("retry", "late", "--abandoned")
    assert asyncio.run(run_to_rest(path, "late")).status is SagaStatus.COMPLETED


def test_what_is_abandoned_can_undo_what_it_did(saga, path):
    words = ("abandon", "late", "--reason", "fraud", "--compensate")
    assert saga(*words) == ["compensating late"]
    record = asyncio.run(run_to_rest(path, "late"))
    assert (record.status, record.progress.reason) == (SagaStatus.COMPENSATED, "fraud")
    assert undone == ["late"]


@pytest.mark.parametrize("words", [("retry",), ("abandon", "-r", "no")])
def test_what_is_done_or_is_running_is_left_alone(saga, path, words):
    (line,) = saga(*words, "done", code=1)
    assert line == "saga done is completed"
    with sqlite3.connect(path) as database:
        database.execute("UPDATE saga SET lease_until = 1e11, owner = 'host:1:a' WHERE id = 'late'")
    (line,) = saga(*words, "late", code=1)
    assert line.startswith("saga late is being run by host:1:a; its lease ends in")
    (line,) = saga(*words, "none", code=1)
    assert line == "there is no saga none"


def test_what_cannot_begin_says_so(saga, tmp_path):
    assert saga("show", "none", code=1) == ["there is no saga none"]
    for words, says in (
        (("list", "-s", "lost"), "--status is one of running, compensating,"),
        (("list", "--older-than", "soon"), "--older-than is a number and s, m, h or d"),
        (("list", "--older-than", "0s"), "--older-than must be a positive number"),
        (("abandon", "late", "-r", " "), "reason must say why"),
    ):
        (line,) = saga(*words, code=2)
        assert line.startswith(says)
    for url in ("/no/such/file", "mysql://me:hush@host/x"):
        (line,) = saga("list", database=url, code=2)
        assert "postgresql://" in line
        assert "hush" not in line
    sqlite3.connect(tmp_path / "empty.db").execute("CREATE TABLE other (id)").connection.close()
    (line,) = saga("list", database=tmp_path / "empty.db", code=2)
    assert line.startswith("the database has no table saga")
    (line,) = saga("list", database="postgresql://me:hush@127.0.0.1:1/orders", code=1)
    assert "127.0.0.1:1" in line
    assert "hush" not in line


def test_a_file_that_is_no_database_is_an_error(saga, tmp_path):
    text = tmp_path / "text.db"
    text.write_text("no database " * 100)
    assert saga("list", database=text, code=1) == ["the database is no SQLite database"]
    assert saga("list", database="a" * 5000, code=2)
    assert saga("list", "-n", str(10**20), code=2)


@pytest.mark.parametrize(
    "url", ["postgresql:/me:hush@h/x", "me:hush@h/x", "mysql://h/x?password=hush"]
)
def test_a_mistyped_url_does_not_show_its_password(saga, url):
    assert "hush" not in "".join(saga("list", database=url, code=2))
