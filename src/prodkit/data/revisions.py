"""A folder of Alembic revisions, and what is wrong with one of them, in a line."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from prodkit._extras import extra

with extra("sql", of=__name__):
    import alembic  # noqa: F401
    import asyncpg  # noqa: F401

from alembic.script import ScriptDirectory
from asyncpg.exceptions import PostgresError

from prodkit.errors import ConfigurationError


def read_revisions(versions: str | os.PathLike[str]) -> ScriptDirectory:
    """Return the revisions in the folder `versions`, which have one head.

    Raises ConfigurationError, which names the file and line where one cannot be read.
    """
    folder = Path(versions)
    if not folder.is_dir():
        raise ConfigurationError(f"no Alembic revisions in {folder}: there is no such folder")
    try:
        with warnings.catch_warnings():
            # One that is missing, or there twice, of which Alembic would leave one out.
            warnings.filterwarnings("error", "Revision .* present")
            script = ScriptDirectory(folder, version_locations=[folder])
            heads = script.get_heads()
    except Exception as error:  # files of Python can fail in any way
        found = trouble(error, folder)
        raise ConfigurationError(f"{folder} cannot be read as revisions: {found}") from error
    if len(heads) != 1:
        names = ", ".join(heads) or "none"
        raise ConfigurationError(f"{folder} must hold revisions with one head, not {names}")
    return script


def trouble(error: BaseException, folder: Path) -> str:
    """Return what an error says, in one line, and where in the files of `folder` it was met."""
    server = _server_error(error)
    text = str(server or error).partition("\n")[0]
    told = text if server else f"{type(error).__name__}: {text}"
    place = "" if isinstance(error, SyntaxError) else _place(error, folder)
    return told + place


def _server_error(error: BaseException | None) -> PostgresError | None:
    while error is not None and not isinstance(error, PostgresError):
        error = error.__cause__
    return error


def _place(error: BaseException, folder: Path) -> str:
    place, trace, inside = "", error.__traceback__, folder.resolve()
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.resolve().parent == inside:
            place = f" ({file.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
