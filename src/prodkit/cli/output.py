"""How the commands speak: one line an error, codes 1 and 2, text that commands no terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn

import typer

from prodkit.errors import ConfigurationError, ServiceError

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def run(work: Coroutine[Any, Any, None], *, extra: str) -> None:
    """Run a command; `extra` is what to install where an import fails.

    Exits 2 for what could not begin, and 1 for what went wrong.
    """
    try:
        asyncio.run(work)
    except ConfigurationError as error:
        fail(2, str(error))
    except ServiceError as error:
        fail(1, "; ".join(getattr(error, "__notes__", [error.message])))  # notes say where
    except ImportError as error:
        fail(2, f"{error.name} is missing: pip install 'prodkit-services[{extra}]'")


def fail(code: int, message: str) -> NoReturn:
    """End with `message` and `code`."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def tell(facts: Mapping[str, object]) -> None:
    """Write one JSON object on a line of its own."""
    typer.echo(json.dumps(facts, ensure_ascii=True))


def shown_time(at: float) -> str:
    """Return Unix time as people read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def shown_url(url: str) -> str:
    """Return a URL without what may be a password."""
    if "@" not in url and "?" not in url:
        return url
    scheme, found, _ = url.partition("://")
    return f"{scheme}://..." if found else "..."


def printable(text: str) -> str:
    """Return `text` so that it stays on its line, and commands no terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
