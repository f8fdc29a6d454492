"""`prodkit check`: what of a project is not ready for production."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prodkit.cli.output import printable

if TYPE_CHECKING:
    from prodkit.scaffold.readiness import Report


def check(
    path: Annotated[Path, typer.Argument(help="The folder of the project.")] = Path(),
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with all findings.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Leave out paths like this, from PATH on; may be repeated."),
    ] = None,
) -> None:
    """Read a project, without running it, and tell what is not ready for production.

    Exits with 1 where there is something, with 2 where files could not be read. A comment leaves
    out what is found on its line: `prodkit: ignore`, the rule in brackets, and a reason.
    """
    from prodkit.scaffold.readiness import check as run

    report = run(path, exclude=exclude or ())
    if as_json:
        typer.echo(json.dumps(_facts(path, report), ensure_ascii=True, indent=2))
    else:
        _tell(path, report)
    if report.unread:
        raise typer.Exit(2)
    if report.findings:
        raise typer.Exit(1)


def _facts(root: Path, report: Report) -> dict[str, object]:
    """Return what `--json` shows; keys are added at most while `version` is 1."""
    return {
        "version": 1,
        "files": report.files,
        "findings": [
            {
                "rule": each.rule,
                "path": _place(root, each.path),
                "line": each.line,
                "message": each.message,
                "fix": each.fix,
            }
            for each in report.findings
        ],
        "unread": [
            {"path": _place(root, each.path), "line": each.line, "message": each.message}
            for each in report.unread
        ],
    }


def _tell(root: Path, report: Report) -> None:
    bold, dim, plain = ("\033[1m", "\033[2m", "\033[0m") if _coloured() else ("", "", "")
    for each in report.findings:
        place = printable(f"{_place(root, each.path)}:{each.line}")
        typer.echo(f"{place}: {bold}{each.rule}{plain}: {printable(each.message)}", color=True)
        typer.echo(f"    {dim}fix:{plain} {printable(each.fix)}", color=True)
    for unread in report.unread:
        line = f":{unread.line}" if unread.line else ""
        place = printable(f"{_place(root, unread.path)}{line}")
        typer.echo(f"{place}: cannot be read: {printable(unread.message)}", err=True)
    typer.echo(f"{_number(report.files, 'file')}, {_number(len(report.findings), 'finding')}")


def _coloured() -> bool:
    """Say whether colour is of use: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _place(root: Path, path: str) -> str:
    return (root / path).as_posix()


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
