"""`prodkit saga`: look at sagas, put them back to work, give them up, beside running services."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prodkit.cli.output import Json, printable, run, shown_time, shown_url, tell
from prodkit.clock import seconds
from prodkit.errors import ConfigurationError
from prodkit.security.redaction import Redactor

if TYPE_CHECKING:
    from prodkit.data.database import Database
    from prodkit.data.saga import KeptSaga, SagaDesk, SagaStatus

app = typer.Typer(no_args_is_help=True, help="Sagas: what they do, and what they wait for.")

Id = Annotated[str, typer.Argument(help="The saga's id, as `list` shows it.")]
Where = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        # Not on the command line, which everybody on the machine can read.
        envvar="DATABASE_URL",
        help="postgresql://user:password@host:port/name, or the SQLite file of a service.",
    ),
]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@app.command("list")
def list_(
    database: Where,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", "-s", help="Only these, as needs_attention; may be repeated."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Only sagas of this name; may be repeated.")
    ] = None,
    older_than: Annotated[
        str, typer.Option(help="Only those begun so long ago: 90s, 15m, 2h, 7d.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000_000)] = 100,
    after: Annotated[str, typer.Option("--after", help="Only those begun after this one.")] = "",
    as_json: Json = False,
) -> None:
    """List sagas, oldest first: id, name, status, step, attempts, began, changed, what happened."""

    async def show(desk: SagaDesk) -> None:
        found = await desk.list(
            statuses=[_status(each) for each in status or ()],
            names=name or (),
            older_than=_age(older_than) if older_than else 0.0,
            after=after,
            limit=limit,
        )
        for kept in found:
            tell(_facts(kept)) if as_json else typer.echo(_line(kept))

    _run(database, show)


@app.command()
def show(id_: Id, database: Where, as_json: Json = False) -> None:
    """Show one saga whole. What looks secret in its state is redacted, as in logs."""

    async def show_it(desk: SagaDesk) -> None:
        facts = _facts(await desk.get(id_))
        if as_json:
            tell(facts)
            return
        for fact, value in facts.items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            typer.echo(f"{fact}: {printable(text)}")

    _run(database, show_it)


@app.command()
def retry(
    id_: Id,
    database: Where,
    abandoned: Annotated[
        bool, typer.Option("--abandoned", help="Bring it back, although somebody gave it up.")
    ] = False,
) -> None:
    """Have a saga go on now that waits or needs attention; attempts at zero."""

    async def again(desk: SagaDesk) -> None:
        await desk.retry(id_, abandoned=abandoned)
        typer.echo(f"retried {printable(id_)}")

    _run(database, again)


@app.command()
def abandon(
    id_: Id,
    database: Where,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; the saga keeps it.")],
    compensate: Annotated[
        bool, typer.Option("--compensate", help="Undo what it did: its compensations run.")
    ] = False,
) -> None:
    """Give a saga up as it stands, or have it undo what it did."""

    async def give_up(desk: SagaDesk) -> None:
        await desk.abandon(id_, reason, compensate=compensate)
        typer.echo(f"{'compensating' if compensate else 'abandoned'} {printable(id_)}")

    _run(database, give_up)


def _run(url: str, work: Callable[[SagaDesk], Awaitable[None]]) -> None:
    run(_work(url, work), extra="sql")


async def _work(url: str, work: Callable[[SagaDesk], Awaitable[None]]) -> None:
    from prodkit.data.saga import SagaDesk
    from prodkit.data.saga.table import metadata

    database = _database(url)
    await database.start()
    try:
        await database.check_tables(metadata)
        await work(SagaDesk(database))
    finally:
        await database.stop()


def _database(url: str) -> Database:
    from prodkit.data.database import Database

    if "://" in url and not url.startswith("sqlite:///"):
        return Database(url, name="the database")
    path = url.removeprefix("sqlite:///")
    if not os.path.isfile(path):  # it would be created
        raise ConfigurationError(
            "the database must be a postgresql:// URL, or the SQLite file of a service that exists,"
            f" not {shown_url(url)!r}"
        )
    return Database(path, name="the database")


def _status(text: str) -> SagaStatus:
    from prodkit.data.saga import SagaStatus

    known = {each.value: each for each in SagaStatus}
    if text not in known:
        raise ConfigurationError(f"--status is one of {', '.join(known)}, not {text!r}")
    return known[text]


def _age(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal():
        raise ConfigurationError(f"--older-than is a number and s, m, h or d, not {text!r}")
    return seconds("--older-than", int(number) * _UNITS[unit])


def _line(kept: KeptSaga) -> str:
    one, progress = kept.record, kept.record.progress
    words = (
        one.id,
        one.saga,
        one.status.value,
        progress.step,
        str(progress.attempts),
        shown_time(kept.began_at),
        shown_time(kept.changed_at),
        progress.error or progress.reason or "-",
    )
    return "\t".join(printable(word) for word in words)


def _facts(kept: KeptSaga) -> dict[str, Any]:
    one, progress = kept.record, kept.record.progress
    return {
        "id": one.id,
        "name": one.saga,
        "status": one.status.value,
        "began": shown_time(kept.began_at),
        "changed": shown_time(kept.changed_at),
        "steps": list(one.steps),
        "step": progress.step,
        "attempts": progress.attempts,
        "next_attempt_in": round(progress.wait, 3),
        "error": progress.error,
        "reason": progress.reason,
        "run_by": one.owner if one.lease_left > 0 else "",
        "lease_left": round(one.lease_left, 3),
        "fence": one.fence,
        "request_id": one.request_id,
        "traceparent": one.traceparent,
        "state": Redactor().fields(one.state),
    }
