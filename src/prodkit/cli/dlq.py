"""`prodkit dlq`: look at dead letters, replay and drop them, on either broker."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prodkit.cli.output import Json, fail, printable, run, shown_time, shown_url, tell
from prodkit.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from prodkit.messaging.dead_letters import DeadEvent, DeadLetters
    from prodkit.transports.amqp import AmqpBroker
    from prodkit.transports.embedded import EmbeddedBroker

app = typer.Typer(no_args_is_help=True, help="Dead letters: what consumers have given up.")

#: Of 64 bits.
_LARGEST = 2**63 - 1

Queue = Annotated[str, typer.Argument(help="The queue whose consumer gave up.")]
Tag = Annotated[int, typer.Argument(help="The letter's number, as `list` shows it.", max=_LARGEST)]
Where = Annotated[
    str,
    typer.Option(
        "--broker",
        "-b",
        envvar="PRODKIT_BROKER",
        help="amqp://user:password@host/vhost, or the file of an embedded broker.",
    ),
]
Exchange = Annotated[
    str, typer.Option("--exchange", help="RabbitMQ: the exchange that the services use.")
]
All = Annotated[bool, typer.Option("--all", help="All that are there now.")]
_EXCHANGE = "prodkit"


@app.command("list")
def list_(
    queue: Queue,
    broker: Where,
    exchange: Exchange = _EXCHANGE,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000)] = 100,
    after: Annotated[
        int, typer.Option("--after", help="Only tags above this one.", max=_LARGEST)
    ] = 0,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first: tag, when, attempts, type, subject, id, reason."""

    async def show(letters: DeadLetters) -> None:
        for dead in await letters.list(limit=limit, after=after):
            tell(_facts(dead)) if as_json else typer.echo(_line(dead))

    _run(queue, broker, exchange, show)


@app.command()
def show(
    queue: Queue, tag: Tag, broker: Where, exchange: Exchange = _EXCHANGE, as_json: Json = False
) -> None:
    """Show one dead letter whole, its message included."""

    async def show_it(letters: DeadLetters) -> None:
        found = await letters.list(limit=1, after=tag - 1)
        if not found or found[0].letter.tag != tag:
            raise NotFoundError(f"queue {queue} has no dead letter {tag}")
        if as_json:
            tell(_facts(found[0]))
        else:
            typer.echo("\n".join(_details(found[0])))

    _run(queue, broker, exchange, show_it)


@app.command()
def replay(
    queue: Queue,
    broker: Where,
    tag: Annotated[int | None, typer.Argument(help="The letter's number.", max=_LARGEST)] = None,
    exchange: Exchange = _EXCHANGE,
    every: All = False,
) -> None:
    """Put one dead letter, or all, back into the queue, attempts at zero."""
    if (tag is None) != every:
        fail(2, "say which dead letter to replay: a tag, or --all")

    async def again(letters: DeadLetters) -> None:
        if tag is None:
            typer.echo(f"replayed {await letters.replay_all()}")
        else:
            await letters.replay(tag)
            typer.echo(f"replayed {tag}")

    _run(queue, broker, exchange, again)


@app.command()
def drop(queue: Queue, tag: Tag, broker: Where, exchange: Exchange = _EXCHANGE) -> None:
    """Delete one dead letter for good."""

    async def delete(letters: DeadLetters) -> None:
        await letters.drop(tag)
        typer.echo(f"dropped {tag}")

    _run(queue, broker, exchange, delete)


def _run(
    queue: str, url: str, exchange: str, work: Callable[[DeadLetters], Awaitable[None]]
) -> None:
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # what it tells is told below
    run(_work(queue, url, exchange, work), extra="rabbitmq,sql")


async def _work(
    queue: str, url: str, exchange: str, work: Callable[[DeadLetters], Awaitable[None]]
) -> None:
    from prodkit.messaging.dead_letters import DeadLetters

    broker = _broker(url, exchange)
    await broker.start()
    try:
        await work(DeadLetters(broker, queue))
    finally:
        await broker.stop()


def _broker(url: str, exchange: str) -> AmqpBroker | EmbeddedBroker:
    if url.startswith(("amqp://", "amqps://")):
        from prodkit.transports.amqp import AmqpBroker

        return AmqpBroker(url, exchange=exchange, name="prodkit dlq")
    from prodkit.transports.embedded import EmbeddedBroker

    path = Path(url.removeprefix("sqlite:///"))
    if not os.path.isfile(path):  # it would be created
        raise ConfigurationError(
            "the broker must be an amqp:// URL, or the file of an embedded broker that exists,"
            f" not {shown_url(url)!r}"
        )
    _check_broker(path)
    return EmbeddedBroker(path)


def _check_broker(path: Path) -> None:
    """Raise ConfigurationError for a file that is another's: it would become a broker's, too."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            file.execute("SELECT 1 FROM dead_letter LIMIT 1")
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # which the broker waits for
            raise ConfigurationError(f"{path} is no embedded broker's file: {error}") from None


def _line(dead: DeadEvent) -> str:
    letter = dead.letter
    message = letter.message
    words = (
        str(letter.tag),
        shown_time(letter.at),
        str(letter.attempts),
        message.type,
        message.key or "-",
        message.id,
        letter.reason,
    )
    return "\t".join(printable(word) for word in words)


def _facts(dead: DeadEvent) -> dict[str, object]:
    letter = dead.letter
    message = letter.message
    return {
        "tag": letter.tag,
        "queue": letter.queue,
        "at": shown_time(letter.at),
        "attempts": letter.attempts,
        "reason": letter.reason,
        "id": message.id,
        "type": message.type,
        "subject": message.key,
        "headers": dict(message.headers),
        "body": message.body.decode(errors="backslashreplace"),
    }


def _details(dead: DeadEvent) -> list[str]:
    facts = _facts(dead)
    body = facts.pop("body")
    headers = dead.letter.message.headers
    del facts["headers"]
    lines = [f"{name}: {printable(str(value))}" for name, value in {**facts, **headers}.items()]
    return [*lines, printable(str(body))]
