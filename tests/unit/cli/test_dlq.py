import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from typer.testing import CliRunner

from prodkit.cli import app
from prodkit.messaging.event import Event
from prodkit.transports.broker import Message
from prodkit.transports.embedded import EmbeddedBroker


async def bury(path):
    broker = EmbeddedBroker(path)
    await broker.start()
    await broker.declare("mail", ["order.*"])
    for number in range(3):
        event = Event("order.created", f"o{number}", {"n": number}, id=f"e{number}", source="/o")
        headers = {"traceparent": "00-t-s-01"}
        sent = Message(event.id, event.type, event.to_json(), event.subject, headers)
        await broker.publish([sent])
        (delivery,) = await broker.receive("mail", 1)
        await broker.dead(delivery, reason=f"KeyError\nno. {number} \x1b[31m")
    await broker.stop()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "broker.db"
    asyncio.run(bury(path))
    return path


@pytest.fixture
def dlq(path):
    def run(*words, broker=f"sqlite:///{path}", code=0):
        done = CliRunner().invoke(app, ["dlq", *words], env={"PRODKIT_BROKER": str(broker)})
        assert done.exit_code == code, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.output.splitlines()

    return run


def test_letters_are_listed_one_to_a_line(dlq, path):
    lines = [line.split("\t") for line in dlq("list", "mail")]
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert lines[0][2:] == ["1", "order.created", "o0", "e0", r"KeyError\nno. 0 \x1b[31m"]
    assert [line[0] for line in map(str.split, dlq("list", "mail", "-n", "1", "--after", "1"))] == [
        "2"
    ]
    assert dlq("list", "other", broker=path) == []


def test_a_letter_is_shown_whole(dlq):
    lines = dlq("show", "mail", "2")
    assert "traceparent: 00-t-s-01" in lines
    assert '"data":{"n":1}' in lines[-1]


def test_json_is_one_object_a_line(dlq):
    found = [json.loads(line) for line in dlq("list", "mail", "--json")]
    assert [each["tag"] for each in found] == [1, 2, 3]
    assert found[1]["reason"] == "KeyError\nno. 1 \x1b[31m"
    assert found[1]["headers"] == {"traceparent": "00-t-s-01"}
    assert [json.loads(line) for line in dlq("show", "mail", "2", "--json")] == [found[1]]


def test_letters_are_replayed_and_dropped(dlq, path):
    assert dlq("drop", "mail", "1") == ["dropped 1"]
    assert dlq("replay", "mail", "2") == ["replayed 2"]
    assert dlq("replay", "mail", "--all") == ["replayed 1"]
    assert dlq("list", "mail") == []


@pytest.mark.parametrize(
    "words", [("show", "mail", "9"), ("drop", "mail", "9"), ("replay", "mail", "9")]
)
def test_a_letter_that_is_not_there_is_an_error(dlq, words):
    assert dlq(*words, code=1) == ["queue mail has no dead letter 9"]


def test_what_cannot_begin_says_so(dlq):
    assert "a tag, or --all" in dlq("replay", "mail", code=2)[0]
    for broker in ("/no/such/file", "redis://me:hush@host/"):
        (line,) = dlq("list", "mail", broker=broker, code=2)
        assert "amqp://" in line
        assert "hush" not in line
    (line,) = dlq("list", "mail", broker="amqp://me:hush@127.0.0.1:1/", code=1)
    assert line.startswith("RabbitMQ at 127.0.0.1:1 cannot be reached")
    (line,) = dlq("list", "mail", broker="amqp://me:hush@127.0.0.1:99999/", code=2)
    assert "port" in line


@pytest.mark.parametrize("url", ["amqp:/me:hush@h/x", "me:hush@h/x"])
def test_a_mistyped_url_does_not_show_its_password(dlq, url):
    assert "hush" not in "".join(dlq("list", "mail", broker=url, code=2))


def test_the_database_of_a_service_does_not_become_a_broker(dlq, tmp_path):
    orders, text = tmp_path / "orders.db", tmp_path / "text.db"
    text.write_text("no database " * 100)
    with closing(sqlite3.connect(orders)) as database:
        database.execute("CREATE TABLE saga (id)")
        for file in (orders, text):
            (line,) = dlq("list", "mail", broker=file, code=2)
            assert "is no embedded broker's file" in line
        tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("saga",)]


def test_numbers_beyond_all_letters_are_refused(dlq):
    assert dlq("show", "mail", str(2**63), code=2)
    assert dlq("list", "mail", "--after", str(2**63), code=2)
    assert dlq("list", "mail", "-n", str(2**63), code=2)
