"""`prodkit add event`: what a service makes of an event, its place in the table, and a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from prodkit.errors import ConfigurationError
from prodkit.scaffold.add import how_to_speak, open_current, speaks_of
from prodkit.scaffold.additions import Additions
from prodkit.scaffold.event_table import with_entry
from prodkit.scaffold.insertion import PlaceError, with_import
from prodkit.scaffold.layout import imported, laid_out
from prodkit.scaffold.names import names_of
from prodkit.scaffold.rpc import sources_of

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*(\.[a-z][a-z0-9]*(_[a-z0-9]+)*)+")
_LONGEST = 40
#: What runs a handler once per event, in a transaction that it is given.
_ONCE = "once"


def prepare_event(folder: Path, service: str, name: str, *, root: Path | None = None) -> Additions:
    """Work out what the handling of an event adds to a service; raise ConfigurationError."""
    project = open_current(folder)
    sources = sources_of(project, service, root=root)
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise ConfigurationError(
            f"{name!r} is no name of an event: it is made of small letters, digits and underscores,"
            f" in parts joined by dots, {_LONGEST} at most, as item.sold"
        )
    if "events" not in speaks_of(project, root=root):
        raise ConfigurationError(
            f"{project.answers.name} does not speak events: {how_to_speak('events')}"
        )
    table, entries = sources.table()
    last = list(entries.values())[-1]
    function = f"on_{name.replace('.', '_')}"
    up = "." * len(table.relative_to(sources.folder).parts)
    additions = Additions(project.folder)

    def registered(text: str) -> str:
        if function in {
            each.id for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Name)
        }:
            raise PlaceError(f"the name {function} is taken there")
        text = with_entry(text, name, lambda before: _like(before, function))
        return with_import(text, imported(f"{up}{function}", function))

    additions.edit(table, registered)
    once = _ONCE in last.partition("(")[0].split(".")
    additions.create(
        sources.folder / f"{function}.py", _handler(sources.service, name, function, once=once)
    )
    package = names_of(project.answers.name).package
    test = _test(
        f"{package}.{sources.service}.{function}", sources.service, name, function, once=once
    )
    additions.create(sources.tests / f"test_{function}.py", test)
    return additions


def _like(before: str, function: str) -> str:
    """Return a handler that is wrapped as the one before it is."""
    value = ast.parse(before, mode="eval").body
    if isinstance(value, ast.Call):
        return f"{ast.unparse(value.func)}({function})"
    return function


def _handler(service: str, name: str, function: str, *, once: bool) -> str:
    imports, arguments, says = ["from prodkit.messaging.event import Event"], ["event: Event"], ""
    if once:
        imports.insert(0, "from prodkit.data.unit_of_work import Work")
        arguments.append("work: Work[Event]")
        says = "; what `work` writes commits with it, once per event"
    lines = [
        f'"""What {service} makes of `{name}`."""',
        "",
        "from __future__ import annotations",
        "",
        *imports,
        "",
        "",
        laid_out(f"async def {function}(", arguments, ") -> None:", 0),
        f'    """Take note of the event{says}."""',
        "",
    ]
    return "\n".join(lines)


_RUN_ONCE = """\
    async def run() -> None:
        database = Database(":memory:")
        units = UnitOfWork(database, Outbox("/tests"))
        await database.start()
        try:
            await database.create_all(*tables.TABLES)
            handle = {handle}
            await handle(event)
            await handle(event)  # as after a redelivery
        finally:
            await database.stop()

    asyncio.run(run())
"""


def _test(module: str, service: str, name: str, function: str, *, once: bool) -> str:
    imports = ["from prodkit.messaging.event import Event"]
    body = f"    asyncio.run({function}(event))\n"
    if once:
        imports = [
            "from prodkit.data.database import Database",
            "from prodkit.data.unit_of_work import UnitOfWork",
            "from prodkit.messaging import tables",
            *imports,
            "from prodkit.messaging.inbox import Inbox",
            "from prodkit.messaging.outbox import Outbox",
        ]
        handle = laid_out('Inbox("tests").handler(', ["units", function], ")", 21)
        body = "\n" + _RUN_ONCE.format(handle=handle.replace("\n", "\n" + " " * 12))
    lines = [
        f'"""`{name}`, as {service} handles it."""',
        "",
        "from __future__ import annotations",
        "",
        "import asyncio",
        "",
        *imports,
        "",
        imported(module, function),
        "",
        "",
        f"def test_{name.replace('.', '_')}_is_handled() -> None:",
        f'    event = Event("{name}", "subject-1", {{}}, source="/tests")',
        body,
    ]
    return "\n".join(lines)
