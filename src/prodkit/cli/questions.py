"""What `prodkit new` asks for where no option said it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping

import typer

from prodkit.errors import ConfigurationError
from prodkit.scaffold.answers import CHOICES, check_choice, check_speaks

_ASKED = {
    "speaks": "What does the service speak, one or several",
    "state": "Where does it keep what it must not forget",
    "limiter": "Where do limits and caches count",
    "broker": "What carries its events",
}


def ask(given: Mapping[str, object], fixed: Collection[str]) -> dict[str, object]:
    """Return the answers with what was `given`; asks for the rest, but for what is `fixed`.

    Raises ConfigurationError where the input ends before the last answer.
    """
    answers = dict(given)
    try:
        for option, question in _ASKED.items():
            wanted = option != "broker" or "events" in _listed(answers.get("speaks"))
            if wanted and option not in answers and option not in fixed:
                answers[option] = _prompt(option, question)
        if "deploy" not in answers and "deploy" not in fixed:
            _check_input()
            answers["deploy"] = typer.confirm("With files to deploy it", default=False)
    except typer.Abort:
        typer.echo()  # the question stands there without its answer
        raise ConfigurationError(
            "the input ended before the last question: use --defaults, or the options"
        ) from None
    return answers


def words(text: str) -> tuple[str, ...]:
    """Return what stands between the commas of `text`; raise ConfigurationError for what cannot."""
    return check_speaks(tuple(word.strip() for word in text.split(",")))


def _prompt(option: str, question: str) -> object:
    _check_input()

    def one(text: str) -> object:
        check_choice(option, text.strip())
        return text.strip()

    return typer.prompt(
        f"{question} ({', '.join(CHOICES[option])})",
        default=CHOICES[option][0],
        value_proc=_again(words if option == "speaks" else one),
    )


def _check_input() -> None:
    if sys.stdin is None:  # it was closed before we began
        raise typer.Abort


def _again(read: Callable[[str], object]) -> Callable[[str], object]:
    """Have a wrong answer told, and the question asked again."""

    def told(text: str) -> object:
        try:
            return read(text)
        except ConfigurationError as error:
            raise typer.BadParameter(str(error)) from None

    return told


def _listed(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()
