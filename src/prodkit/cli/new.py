"""`prodkit new`: a project that tests itself and runs, from the templates."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from prodkit.cli.output import fail, printable
from prodkit.cli.questions import ask, words
from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import CHOICES, ONE_OF, Answers, check_choice
from prodkit.scaffold.dependency import INDEX, located


def _values(option: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [value for value in CHOICES[option] if value.startswith(incomplete)]

    return complete


def _choice(option: str) -> str:
    return "|".join(CHOICES[option])


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="What the project is called, as my-shop.")
    ],
    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar=_choice("template"),
            autocompletion=_values("template"),
            help="One service, or a whole platform.",
        ),
    ] = "service",
    speaks: Annotated[
        str | None,
        typer.Option(
            metavar=",".join(CHOICES["speaks"]),
            autocompletion=_values("speaks"),
            help="What the service speaks: one or several, joined by commas.",
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            metavar=_choice("state"),
            autocompletion=_values("state"),
            help="Where it keeps what it must not forget.",
        ),
    ] = None,
    limiter: Annotated[
        str | None,
        typer.Option(
            metavar=_choice("limiter"),
            autocompletion=_values("limiter"),
            help="Where limits and caches count.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(
            metavar=_choice("broker"),
            autocompletion=_values("broker"),
            help="What carries its events; only where it speaks events.",
        ),
    ] = None,
    deploy: Annotated[
        bool | None,
        typer.Option("--deploy/--no-deploy", help="With or without files to deploy it."),
    ] = None,
    prodkit: Annotated[
        str,
        typer.Option(metavar="SPEC", help="Where it takes prodkit from: a wheel, folder, git URL."),
    ] = INDEX,
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Its folder, new or empty; ./NAME unless given."),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Ask nothing: the first of each choice.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files, and write none.")
    ] = False,
    git: Annotated[
        bool,
        typer.Option(
            "--git/--no-git",
            help="Commit it to a repository of its own, unless it lies in one.",
        ),
    ] = True,
) -> None:
    """Start a project: a service, or a platform of services, that tests itself and runs.

    What no option says is asked; --defaults asks nothing.
    """
    options = {
        "speaks": None if speaks is None else words(speaks),
        "state": state,
        "limiter": limiter,
        "broker": broker,
        "deploy": deploy,
    }
    given = {option: value for option, value in options.items() if value is not None}
    _new(
        Answers.from_values({"name": name, "template": template, "prodkit": located(prodkit)}),
        given,
        folder=into or Path(name),
        asking=not defaults,
        dry_run=dry_run,
        git=git,
    )


def _new(
    plain: Answers,
    given: Mapping[str, object],
    *,
    folder: Path,
    asking: bool,
    dry_run: bool,
    git: bool,
) -> None:
    from prodkit.scaffold import record, render, tree

    tree.check_empty(folder)
    files = render.render(_answered(plain, given, asking=asking))
    if not files.keys() - {record.RECORD, record.LOCK}:
        raise ConfigurationError(
            f"there are no templates of a {plain.template}: prodkit is not installed whole"
        )
    if dry_run:
        _show(tree.lines(files, printable(str(folder))))
        return
    tree.write(files, folder)
    typer.echo(f"{plain.name}: {len(files)} files in {printable(str(folder))}")
    if git:
        _commit(folder, f"prodkit new {plain.name}")
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    typer.echo(f"next: {printable(there)}make demo")


def _show(lines: Iterable[str]) -> None:
    """Write a tree, in plain characters where the terminal has no others."""
    text = "\n".join(lines)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")  # a closed one is None
    except UnicodeEncodeError:
        text = text.translate(str.maketrans("├└│─", "|`|-"))
    typer.echo(text)


def _answered(plain: Answers, given: Mapping[str, object], *, asking: bool) -> Answers:
    """Return all answers; what can be refused is refused before the first question."""
    from prodkit.scaffold.blueprint import platform_of

    fixed = platform_of(plain.template).answers
    if taken := [f"--{option}" for option in given if option in fixed]:
        raise ConfigurationError(
            f"template {plain.template} leaves no choice of {', '.join(taken)}: leave that out"
        )
    for option in given.keys() & ONE_OF:
        check_choice(option, str(given[option]))
    if not asking or "speaks" in given:
        _check_broker(given)
    answers = ask(given, fixed) if asking else given
    _check_broker(answers)
    return plain.having(answers)


def _check_broker(answers: Mapping[str, object]) -> None:
    speaks = answers.get("speaks", ())
    if "broker" in answers and isinstance(speaks, tuple) and "events" not in speaks:
        raise ConfigurationError("--broker carries events: add events to --speaks, or leave it out")


def _commit(folder: Path, message: str) -> None:
    from prodkit.scaffold import repository

    try:
        why_not = repository.begin(folder, message)
    except repository.GitError as error:
        fail(1, f"{error.message}; commit it yourself: `prodkit update` merges from there")
    if why_not:
        typer.echo(f"not committed: {why_not}; `prodkit update` merges from a commit of it")
